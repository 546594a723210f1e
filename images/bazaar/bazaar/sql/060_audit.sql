-- One hash chain for each tenant. It has no reference to tenants: what was done outlives whom it was done to.
-- Nobody but the owner may change or remove a row, and a change breaks the chain.
CREATE TABLE audit (
  tenant_id uuid NOT NULL,
  sequence bigint NOT NULL CHECK (sequence > 0),
  at timestamptz NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  subject text NOT NULL,
  payload jsonb NOT NULL,
  previous bytea NOT NULL CHECK (length(previous) = 32),
  hash bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (tenant_id, sequence)
);
