-- name: lock_audit
-- The tenant first, as everybody does who refers to it, so that its removal and an append never wait for each other.
WITH tenant AS MATERIALIZED (SELECT tenant_id FROM tenants WHERE tenant_id = :tenant_id FOR KEY SHARE)
SELECT pg_advisory_xact_lock(hashtextextended('audit/' || cast(tenant_id AS text), 0)) FROM tenant;

-- name: find_audit_head
SELECT sequence, hash FROM audit WHERE tenant_id = :tenant_id ORDER BY sequence DESC LIMIT 1;

-- name: insert_audit
INSERT INTO audit (tenant_id, sequence, at, actor, action, subject, payload, previous, hash)
VALUES (:tenant_id, :sequence, :at, :actor, :action, :subject, cast(:payload AS jsonb), :previous, :hash);
