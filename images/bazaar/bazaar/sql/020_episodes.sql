CREATE TABLE conversations (
  tenant_id uuid NOT NULL,
  conversation integer NOT NULL,
  user_id text NOT NULL,
  messages integer NOT NULL DEFAULT 0,
  frames integer NOT NULL DEFAULT 0,
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
  last_frame integer,
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
  -- What the step asked and was told, and the hash of the episode's course up to its end: the record for a replay.
  calls jsonb,
  state text,
  PRIMARY KEY (tenant_id, episode_id, step),
  FOREIGN KEY (tenant_id, episode_id) REFERENCES episodes ON DELETE CASCADE,
  CHECK (num_nulls(done_at, output, calls, state) IN (0, 4))
);

-- What the model was asked for an episode that has ended, in tokens.
CREATE TABLE usage (
  tenant_id uuid NOT NULL,
  episode_id uuid NOT NULL,
  prompt_tokens bigint NOT NULL,
  completion_tokens bigint NOT NULL,
  PRIMARY KEY (tenant_id, episode_id),
  FOREIGN KEY (tenant_id, episode_id) REFERENCES episodes ON DELETE CASCADE
);

CREATE TABLE outbox (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  outbox_id bigint GENERATED ALWAYS AS IDENTITY,
  subject text NOT NULL,
  message_id text NOT NULL,
  headers jsonb NOT NULL,
  payload jsonb NOT NULL,
  published_at timestamptz,
  PRIMARY KEY (tenant_id, outbox_id),
  UNIQUE (tenant_id, message_id)
);
CREATE INDEX outbox_waiting ON outbox (outbox_id) WHERE published_at IS NULL;

-- The application changes only what has a reason to change.
GRANT UPDATE (messages, frames) ON conversations TO bazaar_app;
GRANT UPDATE (state, intent, reply, error, finished_at, last_frame) ON episodes TO bazaar_app;
GRANT UPDATE (done_at, output, calls, state) ON episode_steps TO bazaar_app;
GRANT UPDATE (prompt_tokens, completion_tokens) ON usage TO bazaar_app;

-- The relay serves all tenants and can touch nothing but the outbox.
CREATE POLICY relay ON outbox TO bazaar_relay USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE (published_at) ON outbox TO bazaar_relay;
