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

CREATE TABLE api_keys (
  tenant_id uuid NOT NULL,
  key_hash bytea NOT NULL,
  user_id text NOT NULL,
  scopes text[] NOT NULL,
  PRIMARY KEY (tenant_id, key_hash),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

CREATE TABLE products (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  sku text NOT NULL,
  name text NOT NULL,
  price_cents bigint NOT NULL CHECK (price_cents >= 0),
  PRIMARY KEY (tenant_id, sku)
);

CREATE TABLE stock (
  tenant_id uuid NOT NULL,
  sku text NOT NULL,
  available integer NOT NULL CHECK (available >= 0),
  reserved integer NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  PRIMARY KEY (tenant_id, sku),
  FOREIGN KEY (tenant_id, sku) REFERENCES products ON DELETE CASCADE
);

CREATE TABLE documents (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  document_id text NOT NULL,
  title text NOT NULL,
  body text NOT NULL,
  embedding vector(256) NOT NULL,
  PRIMARY KEY (tenant_id, document_id)
);

CREATE TABLE conversations (
  tenant_id uuid NOT NULL,
  conversation integer NOT NULL,
  user_id text NOT NULL,
  messages integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, conversation),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

CREATE TABLE episodes (
  tenant_id uuid NOT NULL,
  episode_id uuid NOT NULL,
  conversation integer NOT NULL,
  user_id text NOT NULL,
  state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
  intent text,
  reply text,
  error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  PRIMARY KEY (tenant_id, episode_id),
  FOREIGN KEY (tenant_id, conversation) REFERENCES conversations ON DELETE CASCADE
);
-- A conversation runs one episode at a time, so that what a prompt sees does not depend on timing.
CREATE UNIQUE INDEX one_open_episode ON episodes (tenant_id, conversation) WHERE state IN ('queued', 'running');

CREATE TABLE messages (
  tenant_id uuid NOT NULL,
  conversation integer NOT NULL,
  ordinal integer NOT NULL,
  role text NOT NULL CHECK (role IN ('user', 'assistant')),
  channel text NOT NULL,
  content text NOT NULL,
  episode_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, conversation, ordinal),
  UNIQUE (tenant_id, episode_id, role),
  FOREIGN KEY (tenant_id, episode_id) REFERENCES episodes ON DELETE CASCADE
);

CREATE TABLE episode_steps (
  tenant_id uuid NOT NULL,
  episode_id uuid NOT NULL,
  step text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  done_at timestamptz,
  output jsonb,
  PRIMARY KEY (tenant_id, episode_id, step),
  FOREIGN KEY (tenant_id, episode_id) REFERENCES episodes ON DELETE CASCADE,
  CHECK ((done_at IS NULL) = (output IS NULL))
);

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

CREATE TABLE outbox (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  outbox_id bigint GENERATED ALWAYS AS IDENTITY,
  subject text NOT NULL,
  message_id text NOT NULL,
  headers jsonb NOT NULL,
  payload jsonb NOT NULL,
  published_at timestamptz,
  PRIMARY KEY (tenant_id, outbox_id)
);
CREATE INDEX outbox_waiting ON outbox (outbox_id) WHERE published_at IS NULL;

CREATE TABLE effects (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  key text NOT NULL,
  kind text NOT NULL,
  episode_id uuid NOT NULL,
  result jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, key)
);

CREATE TABLE orders (
  tenant_id uuid NOT NULL,
  order_number text NOT NULL,
  user_id text NOT NULL,
  episode_id uuid NOT NULL,
  sku text NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  total_cents bigint NOT NULL CHECK (total_cents >= 0),
  status text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, order_number),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, sku) REFERENCES products ON DELETE CASCADE
);

CREATE TABLE shipments (
  tenant_id uuid NOT NULL,
  order_number text NOT NULL,
  tracking_code text NOT NULL,
  status text NOT NULL DEFAULT 'preparing' CHECK (status IN ('preparing')),
  PRIMARY KEY (tenant_id, order_number),
  FOREIGN KEY (tenant_id, order_number) REFERENCES orders ON DELETE CASCADE
);

-- Double entry: the rows of one effect sum to zero.
CREATE TABLE ledger (
  tenant_id uuid NOT NULL,
  effect_key text NOT NULL,
  account text NOT NULL CHECK (account IN ('receivables', 'sales')),
  debit_cents bigint NOT NULL DEFAULT 0 CHECK (debit_cents >= 0),
  credit_cents bigint NOT NULL DEFAULT 0 CHECK (credit_cents >= 0),
  PRIMARY KEY (tenant_id, effect_key, account),
  FOREIGN KEY (tenant_id, effect_key) REFERENCES effects (tenant_id, key) ON DELETE CASCADE,
  CHECK (debit_cents = 0 OR credit_cents = 0)
);
