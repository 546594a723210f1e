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

-- name: insert_product
INSERT INTO products (tenant_id, sku, name, price_cents) VALUES (:tenant_id, :sku, :name, :price_cents);

-- name: insert_stock
INSERT INTO stock (tenant_id, sku, available) VALUES (:tenant_id, :sku, :available);

-- name: delete_tenant
DELETE FROM tenants WHERE tenant_id = :tenant_id;

-- name: find_principal
SELECT k.user_id, k.scopes, t.quota_limit, t.quota_window_seconds
FROM api_keys k JOIN tenants t USING (tenant_id)
WHERE k.tenant_id = :tenant_id AND k.key_hash = :key_hash;

-- name: upsert_document
INSERT INTO documents (tenant_id, document_id, title, body, embedding)
VALUES (:tenant_id, :document_id, :title, :body, cast(:embedding AS vector))
ON CONFLICT (tenant_id, document_id)
DO UPDATE SET title = excluded.title, body = excluded.body, embedding = excluded.embedding;

-- name: claim_idempotency_key
INSERT INTO idempotency_keys (tenant_id, user_id, key, request_hash, episode_id)
VALUES (:tenant_id, :user_id, :key, :request_hash, :episode_id)
ON CONFLICT DO NOTHING
RETURNING episode_id;

-- name: find_idempotency_key
SELECT i.request_hash, i.episode_id, e.conversation
FROM idempotency_keys i JOIN episodes e USING (tenant_id, episode_id)
WHERE i.tenant_id = :tenant_id AND i.user_id = :user_id AND i.key = :key;

-- name: next_conversation
UPDATE tenants SET conversations = conversations + 1 WHERE tenant_id = :tenant_id RETURNING conversations;

-- name: insert_conversation
INSERT INTO conversations (tenant_id, conversation, user_id) VALUES (:tenant_id, :conversation, :user_id);

-- name: lock_conversation
SELECT conversation FROM conversations
WHERE tenant_id = :tenant_id AND conversation = :conversation AND user_id = :user_id
FOR UPDATE;

-- name: find_open_episode
SELECT episode_id FROM episodes
WHERE tenant_id = :tenant_id AND conversation = :conversation AND state IN ('queued', 'running');

-- name: next_message
UPDATE conversations SET messages = messages + 1
WHERE tenant_id = :tenant_id AND conversation = :conversation
RETURNING messages;

-- name: insert_message
INSERT INTO messages (tenant_id, conversation, ordinal, role, channel, content, episode_id)
VALUES (:tenant_id, :conversation, :ordinal, :role, :channel, :content, :episode_id);

-- name: insert_episode
INSERT INTO episodes (tenant_id, episode_id, conversation, user_id)
VALUES (:tenant_id, :episode_id, :conversation, :user_id);

-- name: insert_outbox
INSERT INTO outbox (tenant_id, subject, message_id, headers, payload)
VALUES (:tenant_id, :subject, :message_id, cast(:headers AS jsonb), cast(:payload AS jsonb));

-- name: lock_outbox
SELECT tenant_id, outbox_id, subject, message_id, headers, payload FROM outbox
WHERE published_at IS NULL
ORDER BY outbox_id
LIMIT 100
FOR UPDATE SKIP LOCKED;

-- name: mark_published
UPDATE outbox SET published_at = now() WHERE tenant_id = :tenant_id AND outbox_id = :outbox_id;

-- name: find_episode
SELECT e.episode_id, e.conversation, e.state, e.intent, e.reply, e.error
FROM episodes e
WHERE e.tenant_id = :tenant_id AND e.episode_id = :episode_id AND e.user_id = :user_id;

-- name: list_orders
SELECT o.order_number, o.sku, o.quantity, o.total_cents, o.status, s.tracking_code, s.status AS shipment_status
FROM orders o JOIN shipments s USING (tenant_id, order_number)
WHERE o.tenant_id = :tenant_id AND o.user_id = :user_id
ORDER BY o.order_number
LIMIT 100;

-- name: find_order
SELECT o.order_number, o.sku, o.quantity, o.total_cents, o.status, s.tracking_code, s.status AS shipment_status
FROM orders o JOIN shipments s USING (tenant_id, order_number)
WHERE o.tenant_id = :tenant_id AND o.user_id = :user_id AND o.order_number = :order_number;

-- name: find_latest_order
SELECT o.order_number, o.sku, o.quantity, o.total_cents, o.status, s.tracking_code, s.status AS shipment_status
FROM orders o JOIN shipments s USING (tenant_id, order_number)
WHERE o.tenant_id = :tenant_id AND o.user_id = :user_id
ORDER BY o.created_at DESC, o.order_number DESC
LIMIT 1;

-- name: load_episode
SELECT e.state, e.conversation, e.user_id, t.seed
FROM episodes e JOIN tenants t USING (tenant_id)
WHERE e.tenant_id = :tenant_id AND e.episode_id = :episode_id;

-- name: load_history
SELECT m.role, m.content, m.channel FROM messages m
WHERE m.tenant_id = :tenant_id AND m.conversation = :conversation
  AND m.ordinal <= (SELECT ordinal FROM messages
                    WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND role = 'user')
ORDER BY m.ordinal DESC
LIMIT 20;

-- name: load_steps
SELECT step, output FROM episode_steps
WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND done_at IS NOT NULL;

-- name: start_episode
UPDATE episodes SET state = 'running'
WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND state = 'queued';

-- name: start_step
INSERT INTO episode_steps (tenant_id, episode_id, step) VALUES (:tenant_id, :episode_id, :step)
ON CONFLICT DO NOTHING;

-- name: finish_step
UPDATE episode_steps SET done_at = now(), output = cast(:output AS jsonb)
WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND step = :step AND done_at IS NULL;

-- name: finish_episode
UPDATE episodes SET state = :state, intent = :intent, reply = :reply, error = :error, finished_at = now()
WHERE tenant_id = :tenant_id AND episode_id = :episode_id AND state IN ('queued', 'running')
RETURNING conversation;

-- name: nearest_documents
SELECT document_id, title, body FROM documents
WHERE tenant_id = :tenant_id
ORDER BY embedding <=> cast(:embedding AS vector), document_id
LIMIT 3;

-- name: list_products
SELECT sku, name, price_cents FROM products WHERE tenant_id = :tenant_id ORDER BY sku LIMIT 50;

-- name: find_effect
SELECT result FROM effects WHERE tenant_id = :tenant_id AND key = :key;

-- name: insert_effect
INSERT INTO effects (tenant_id, key, kind, episode_id, result)
VALUES (:tenant_id, :key, :kind, :episode_id, cast(:result AS jsonb));

-- name: reserve_stock
UPDATE stock SET available = available - :quantity, reserved = reserved + :quantity
WHERE tenant_id = :tenant_id AND sku = :sku AND available >= :quantity
RETURNING available;

-- name: find_product
SELECT sku, name, price_cents FROM products WHERE tenant_id = :tenant_id AND sku = :sku;

-- name: lock_episode
SELECT conversation, user_id FROM episodes
WHERE tenant_id = :tenant_id AND episode_id = :episode_id
FOR UPDATE;

-- name: count_orders_of_conversation
SELECT count(*) AS orders FROM orders o JOIN episodes e USING (tenant_id, episode_id)
WHERE o.tenant_id = :tenant_id AND e.conversation = :conversation;

-- name: insert_order
INSERT INTO orders (tenant_id, order_number, user_id, episode_id, sku, quantity, total_cents)
VALUES (:tenant_id, :order_number, :user_id, :episode_id, :sku, :quantity, :total_cents);

-- name: insert_shipment
INSERT INTO shipments (tenant_id, order_number, tracking_code) VALUES (:tenant_id, :order_number, :tracking_code);

-- name: insert_ledger
INSERT INTO ledger (tenant_id, effect_key, account, debit_cents, credit_cents)
VALUES (:tenant_id, :effect_key, :account, :debit_cents, :credit_cents);
