-- Every table starts with tenant_id, and every key does: no constraint can tell one tenant about another.
CREATE TABLE tenants (
  tenant_id uuid PRIMARY KEY,
  seed bigint NOT NULL,
  mode text NOT NULL CHECK (mode IN ('MOCK', 'GOLDEN', 'LIVE_SMOKE')),
  quota_limit integer CHECK (quota_limit > 0),
  quota_window_seconds integer CHECK (quota_window_seconds > 0),
  conversations integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK ((quota_limit IS NULL) = (quota_window_seconds IS NULL))
);

CREATE TABLE users (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  user_id text NOT NULL,
  PRIMARY KEY (tenant_id, user_id)
);

CREATE TABLE groups (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  group_id text NOT NULL,
  PRIMARY KEY (tenant_id, group_id)
);

CREATE TABLE memberships (
  tenant_id uuid NOT NULL,
  user_id text NOT NULL,
  group_id text NOT NULL,
  PRIMARY KEY (tenant_id, user_id, group_id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, group_id) REFERENCES groups ON DELETE CASCADE
);

CREATE TABLE api_keys (
  tenant_id uuid NOT NULL,
  key_hash bytea NOT NULL,
  user_id text NOT NULL,
  scopes text[] NOT NULL,
  per_second integer CHECK (per_second > 0),
  expires_at timestamptz,
  revoked_at timestamptz,
  PRIMARY KEY (tenant_id, key_hash),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

-- Keys of messages. Those of commands are kept with their effects.
CREATE TABLE idempotency_keys (
  tenant_id uuid NOT NULL,
  user_id text NOT NULL,
  key text NOT NULL,
  request_hash bytea NOT NULL,
  episode_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, user_id, key),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

-- The application changes only what has a reason to change.
GRANT DELETE, UPDATE (conversations) ON tenants TO bazaar_app;
GRANT UPDATE (revoked_at) ON api_keys TO bazaar_app;
