-- name: find_audit_head
SELECT sequence, hash FROM audit WHERE tenant_id = :tenant_id ORDER BY sequence DESC LIMIT 1;

-- name: insert_audit
INSERT INTO audit (tenant_id, sequence, at, actor, action, subject, payload, previous, hash)
VALUES (:tenant_id, :sequence, :at, :actor, :action, :subject, cast(:payload AS jsonb), :previous, :hash);
