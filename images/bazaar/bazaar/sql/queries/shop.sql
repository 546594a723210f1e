-- name: insert_product
INSERT INTO products (tenant_id, sku, name, price_cents) VALUES (:tenant_id, :sku, :name, :price_cents);

-- name: insert_stock
INSERT INTO stock (tenant_id, sku, available) VALUES (:tenant_id, :sku, :available);

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
