-- name: upsert_document
INSERT INTO documents (tenant_id, document_id, title, body, embedding)
VALUES (:tenant_id, :document_id, :title, :body, cast(:embedding AS vector))
ON CONFLICT (tenant_id, document_id)
DO UPDATE SET title = excluded.title, body = excluded.body, embedding = excluded.embedding;

-- name: nearest_documents
SELECT document_id, title, body FROM documents
WHERE tenant_id = :tenant_id
ORDER BY embedding <=> cast(:embedding AS vector), document_id
LIMIT 3;
