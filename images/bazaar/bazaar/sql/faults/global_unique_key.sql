-- plant
-- Keys of two tenants meet in one index. Only new rows are in it: older ones may be equal already.
DO $$
BEGIN
  EXECUTE format('CREATE UNIQUE INDEX idempotency_keys_by_user ON bazaar.idempotency_keys (user_id, key)
                  WHERE created_at >= %L', now());
END $$;
-- revert
DROP INDEX bazaar.idempotency_keys_by_user;
