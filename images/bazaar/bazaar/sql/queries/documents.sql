-- name: upsert_documents
INSERT INTO documents (tenant_id, document_id, title, body, readers)
SELECT :tenant_id, d.document_id, d.title, d.body, string_to_array(d.readers, ' ')
FROM unnest(cast(:ids AS text[]), cast(:titles AS text[]), cast(:bodies AS text[]), cast(:readers AS text[]))
  AS d (document_id, title, body, readers)
ON CONFLICT (tenant_id, document_id)
DO UPDATE SET title = excluded.title, body = excluded.body, readers = excluded.readers;

-- name: delete_chunks
DELETE FROM chunks WHERE tenant_id = :tenant_id AND document_id = ANY(cast(:ids AS text[]));

-- name: insert_chunks
INSERT INTO chunks (tenant_id, document_id, chunk, body, readers, embedding)
SELECT :tenant_id, c.document_id, c.chunk, c.body, string_to_array(c.readers, ' '), cast(c.embedding AS vector)
FROM unnest(cast(:ids AS text[]), cast(:ordinals AS integer[]), cast(:bodies AS text[]), cast(:readers AS text[]),
            cast(:embeddings AS text[])) AS c (document_id, chunk, body, readers, embedding);

-- name: find_readable
-- In a search the tenant is the policies' business alone: they are part of the query as the index sees it.
WITH me AS (
  SELECT array_append(array_agg('group:' || group_id), 'user:' || cast(:user_id AS text)) AS names
  FROM memberships WHERE user_id = :user_id
)
SELECT me.names, (
  SELECT count(*) FROM (
    SELECT FROM chunks WHERE (readers IS NULL OR readers && me.names) LIMIT :enough
  ) AS counted
) AS chunks
FROM me;

-- name: tune_search
-- Without iterative scan the index gives its nearest rows of all tenants, and few or none of them pass the filter.
-- relaxed_order finds more than strict_order for the same work. A tenant of which there are no statistics yet looks
-- small to the planner; what it would choose then is a sort.
SELECT set_config(name, value, true) FROM (VALUES
  ('hnsw.iterative_scan', cast(:iterative_scan AS text)), ('hnsw.ef_search', '100'), ('hnsw.max_scan_tuples', '60000'),
  ('hnsw.scan_mem_multiplier', '4'), ('enable_sort', 'off')
) AS setting (name, value);

-- name: nearest_chunks
WITH nearest AS MATERIALIZED (
  SELECT tenant_id, document_id, chunk, body, embedding <=> cast(:embedding AS vector) AS distance FROM chunks
  WHERE (readers IS NULL OR readers && cast(:names AS text[]))
  ORDER BY embedding <=> cast(:embedding AS vector)
  LIMIT :limit
)
SELECT document_id, n.chunk, d.title, n.body, n.distance
FROM nearest n JOIN documents d USING (tenant_id, document_id);

-- name: nearest_of_few_chunks
-- Exact: an expression that is not the index's own is sorted by.
WITH nearest AS MATERIALIZED (
  SELECT tenant_id, document_id, chunk, body, embedding <=> cast(:embedding AS vector) AS distance FROM chunks
  WHERE (readers IS NULL OR readers && cast(:names AS text[]))
  ORDER BY (embedding <=> cast(:embedding AS vector)) + 0, document_id, chunk
  LIMIT :limit
)
SELECT document_id, n.chunk, d.title, n.body, n.distance
FROM nearest n JOIN documents d USING (tenant_id, document_id);
