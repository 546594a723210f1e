-- name: set_tenant
SELECT set_config('bazaar.tenant', :tenant_id, true);

-- name: ping
SELECT tenant_id FROM tenants LIMIT 1;

-- name: insert_tenant
INSERT INTO tenants (tenant_id, seed, mode, quota_limit, quota_window_seconds)
VALUES (:tenant_id, :seed, :mode, :quota_limit, :quota_window_seconds);

-- name: insert_user
INSERT INTO users (tenant_id, user_id) VALUES (:tenant_id, :user_id);

-- name: insert_api_key
INSERT INTO api_keys (tenant_id, key_hash, user_id, scopes) VALUES (:tenant_id, :key_hash, :user_id, :scopes);

-- name: lock_tenant
SELECT tenant_id FROM tenants WHERE tenant_id = :tenant_id FOR UPDATE;

-- name: delete_tenant
DELETE FROM tenants WHERE tenant_id = :tenant_id;

-- name: find_principal
SELECT k.user_id, k.scopes, t.quota_limit, t.quota_window_seconds
FROM api_keys k JOIN tenants t USING (tenant_id)
WHERE k.tenant_id = :tenant_id AND k.key_hash = :key_hash;

-- name: claim_idempotency_key
INSERT INTO idempotency_keys (tenant_id, user_id, key, request_hash, episode_id)
VALUES (:tenant_id, :user_id, :key, :request_hash, :episode_id)
ON CONFLICT DO NOTHING
RETURNING episode_id;

-- name: find_idempotency_key
SELECT i.request_hash, i.episode_id, e.conversation
FROM idempotency_keys i JOIN episodes e USING (tenant_id, episode_id)
WHERE i.tenant_id = :tenant_id AND i.user_id = :user_id AND i.key = :key;
