-- name: set_tenant
SELECT set_config('bazaar.tenant', :tenant_id, :local);

-- name: become_reporter
SET ROLE bazaar_report;

-- name: ping
SELECT tenant_id FROM tenants LIMIT 1;

-- name: insert_tenant
INSERT INTO tenants (tenant_id, seed, mode, quota_limit, quota_window_seconds)
VALUES (:tenant_id, :seed, :mode, :quota_limit, :quota_window_seconds);

-- name: insert_users
-- With their groups and one key each.
WITH given AS (
  SELECT * FROM jsonb_to_recordset(cast(:users AS jsonb)) AS given
    (name text, groups text[], key_hash text, scopes text[], per_second integer, expires_at timestamptz)
), made AS (
  INSERT INTO users (tenant_id, user_id) SELECT :tenant_id, name FROM given
), grouped AS (
  INSERT INTO groups (tenant_id, group_id)
  SELECT DISTINCT cast(:tenant_id AS uuid), group_id FROM given, unnest(groups) AS group_id
), joined AS (
  INSERT INTO memberships (tenant_id, user_id, group_id)
  SELECT DISTINCT cast(:tenant_id AS uuid), name, group_id FROM given, unnest(groups) AS group_id
)
INSERT INTO api_keys (tenant_id, key_hash, user_id, scopes, per_second, expires_at)
SELECT :tenant_id, decode(key_hash, 'hex'), name, scopes, per_second, expires_at FROM given;

-- name: revoke_api_keys
UPDATE api_keys SET revoked_at = now() WHERE tenant_id = :tenant_id AND user_id = :user_id AND revoked_at IS NULL;

-- name: lock_tenant
SELECT tenant_id FROM tenants WHERE tenant_id = :tenant_id FOR UPDATE;

-- name: delete_tenant
DELETE FROM tenants WHERE tenant_id = :tenant_id;

-- name: find_principal
SELECT k.user_id, k.scopes, k.per_second, t.quota_limit, t.quota_window_seconds
FROM api_keys k JOIN tenants t USING (tenant_id)
WHERE k.tenant_id = :tenant_id AND k.key_hash = :key_hash
  AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now());

-- name: claim_idempotency_key
WITH held AS MATERIALIZED (SELECT tenant_id FROM tenants WHERE tenant_id = :tenant_id FOR KEY SHARE)
INSERT INTO idempotency_keys (tenant_id, user_id, key, request_hash, episode_id)
SELECT tenant_id, :user_id, :key, cast(:request_hash AS bytea), cast(:episode_id AS uuid) FROM held
ON CONFLICT DO NOTHING
RETURNING episode_id;

-- name: find_idempotency_key
SELECT i.request_hash, i.episode_id, e.conversation
FROM idempotency_keys i JOIN episodes e USING (tenant_id, episode_id)
WHERE i.tenant_id = :tenant_id AND i.user_id = :user_id AND i.key = :key;

-- name: find_conversation
SELECT conversation FROM conversations
WHERE tenant_id = :tenant_id AND conversation = :conversation AND user_id = :user_id;

-- name: list_conversations
SELECT conversation, messages, created_at FROM conversations
WHERE tenant_id = :tenant_id AND user_id = :user_id AND conversation > :after
ORDER BY conversation
LIMIT :limit;

-- name: list_messages
SELECT ordinal, role, channel, content AS text, episode_id, created_at FROM messages
WHERE tenant_id = :tenant_id AND conversation = :conversation AND ordinal > :after
ORDER BY ordinal
LIMIT :limit;

-- name: sum_usage
SELECT count(*) AS episodes, cast(coalesce(sum(prompt_tokens), 0) AS bigint) AS prompt_tokens,
       cast(coalesce(sum(completion_tokens), 0) AS bigint) AS completion_tokens
FROM usage WHERE tenant_id = :tenant_id;
