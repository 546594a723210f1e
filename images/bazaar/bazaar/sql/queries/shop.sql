-- name: insert_products
WITH given AS (
  SELECT * FROM jsonb_to_recordset(cast(:products AS jsonb))
    AS product (sku text, name text, price_cents bigint, ships_to text[], stock integer)
), made AS (
  INSERT INTO products (tenant_id, sku, name, price_cents, ships_to)
  SELECT :tenant_id, sku, name, price_cents, ships_to FROM given
)
INSERT INTO stock (tenant_id, sku, available) SELECT :tenant_id, sku, stock FROM given;

-- name: list_orders
SELECT o.order_number, o.sku, o.quantity, o.total_cents, o.status, s.tracking_code, s.status AS shipment_status
FROM orders o JOIN shipments s USING (tenant_id, order_number)
WHERE o.tenant_id = :tenant_id AND o.user_id = :user_id
ORDER BY o.order_number
LIMIT 100;

-- name: find_order
-- Without a number, the user's latest.
SELECT o.order_number, o.sku, o.quantity, o.total_cents, o.status, s.tracking_code, s.status AS shipment_status
FROM orders o JOIN shipments s USING (tenant_id, order_number)
WHERE o.tenant_id = :tenant_id AND o.user_id = :user_id AND o.order_number = coalesce(cast(:order_number AS text), (
  SELECT order_number FROM orders
  WHERE tenant_id = :tenant_id AND user_id = :user_id
  ORDER BY created_at DESC, order_number DESC
  LIMIT 1
));

-- name: find_order_of_others
SELECT o.order_number, o.sku, o.quantity, o.total_cents, o.status, s.tracking_code, s.status AS shipment_status
FROM orders o JOIN shipments s USING (tenant_id, order_number)
WHERE o.tenant_id = :tenant_id AND o.order_number <> :order_number
ORDER BY o.created_at DESC, o.order_number DESC
LIMIT 1;

-- name: lock_order
-- Without a number, the user's latest.
SELECT order_number, sku, quantity, total_cents, status FROM orders
WHERE tenant_id = :tenant_id AND user_id = :user_id AND order_number = coalesce(cast(:order_number AS text), (
  SELECT order_number FROM orders
  WHERE tenant_id = :tenant_id AND user_id = :user_id
  ORDER BY created_at DESC, order_number DESC
  LIMIT 1
))
FOR UPDATE;

-- name: list_products
SELECT sku, name, price_cents FROM products WHERE tenant_id = :tenant_id ORDER BY sku LIMIT 50;

-- name: lock_name
-- The tenant first, as in every transaction that writes: its removal locks this row first too, and then its children.
WITH held AS MATERIALIZED (SELECT tenant_id FROM tenants WHERE tenant_id = :tenant_id FOR KEY SHARE)
SELECT pg_advisory_xact_lock(hashtextextended(concat(tenant_id, '/', cast(:name AS text)), 0)) FROM held;

-- name: find_effect
SELECT kind, arguments, result FROM effects WHERE tenant_id = :tenant_id AND key = :key;

-- name: insert_effect
-- With its postings: [account, debit, credit] each.
WITH effect AS (
  INSERT INTO effects (tenant_id, key, kind, episode_id, arguments, result)
  VALUES (:tenant_id, :key, :kind, :episode_id, cast(:arguments AS jsonb), cast(:result AS jsonb))
)
INSERT INTO ledger (tenant_id, effect_key, account, debit_cents, credit_cents)
SELECT :tenant_id, :key, posting ->> 0, cast(posting ->> 1 AS bigint), cast(posting ->> 2 AS bigint)
FROM jsonb_array_elements(cast(:postings AS jsonb)) AS posting;

-- name: reserve_stock
UPDATE stock SET available = available - :quantity, reserved = reserved + :quantity
WHERE tenant_id = :tenant_id AND sku = :sku AND available >= :quantity
RETURNING available;

-- name: release_stock
UPDATE stock SET available = available + :quantity, reserved = reserved - :quantity
WHERE tenant_id = :tenant_id AND sku = :sku;

-- name: ship_stock
UPDATE stock SET reserved = reserved - :quantity WHERE tenant_id = :tenant_id AND sku = :sku;

-- name: find_product
SELECT sku, name, price_cents, ships_to FROM products WHERE tenant_id = :tenant_id AND sku = :sku;

-- name: count_orders
SELECT count(*) AS number FROM orders WHERE tenant_id = :tenant_id AND order_number LIKE :series;

-- name: insert_order
INSERT INTO orders (tenant_id, order_number, user_id, episode_id, sku, quantity, total_cents)
VALUES (:tenant_id, :order_number, :user_id, :episode_id, :sku, :quantity, :total_cents);

-- name: set_order_status
UPDATE orders SET status = :status WHERE tenant_id = :tenant_id AND order_number = :order_number;

-- name: insert_shipment
INSERT INTO shipments (tenant_id, order_number, tracking_code) VALUES (:tenant_id, :order_number, :tracking_code);

-- name: set_shipment
UPDATE shipments SET status = :status, country = :country
WHERE tenant_id = :tenant_id AND order_number = :order_number
RETURNING tracking_code;

-- name: insert_payment
INSERT INTO payments (tenant_id, order_number, token, amount_cents)
VALUES (:tenant_id, :order_number, :token, :amount_cents);

-- name: refund_payment
UPDATE payments SET status = 'refunded' WHERE tenant_id = :tenant_id AND order_number = :order_number;

-- name: insert_refund
INSERT INTO refunds (tenant_id, order_number, amount_cents) VALUES (:tenant_id, :order_number, :amount_cents);

-- name: count_leads
SELECT count(*) AS number FROM leads WHERE tenant_id = :tenant_id AND lead_number LIKE concat('L', cast(:series AS text));

-- name: insert_lead
INSERT INTO leads (tenant_id, lead_number, user_id, sku) VALUES (:tenant_id, :lead_number, :user_id, :sku);

-- name: lock_lead
-- Without a number, the user's latest.
SELECT l.lead_number, l.sku, l.quantity, l.stage, p.name, p.price_cents
FROM leads l JOIN products p USING (tenant_id, sku)
WHERE l.tenant_id = :tenant_id AND l.user_id = :user_id AND l.lead_number = coalesce(cast(:lead_number AS text), (
  SELECT lead_number FROM leads
  WHERE tenant_id = :tenant_id AND user_id = :user_id
  ORDER BY created_at DESC, lead_number DESC
  LIMIT 1
))
FOR UPDATE OF l;

-- name: list_leads
SELECT lead_number, sku, stage, quantity FROM leads
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY lead_number
LIMIT 100;

-- name: qualify_lead
UPDATE leads SET stage = 'qualified', quantity = :quantity, budget_cents = :budget_cents
WHERE tenant_id = :tenant_id AND lead_number = :lead_number;

-- name: convert_lead
UPDATE leads SET stage = 'converted', order_number = :order_number
WHERE tenant_id = :tenant_id AND lead_number = :lead_number;

-- name: insert_notification
INSERT INTO notifications (tenant_id, effect_key, user_id, order_number, event)
VALUES (:tenant_id, :effect_key, :user_id, :order_number, :event);

-- name: insert_handoff
INSERT INTO handoffs (tenant_id, effect_key, user_id, conversation, reason)
VALUES (:tenant_id, :effect_key, :user_id, :conversation, :reason);
