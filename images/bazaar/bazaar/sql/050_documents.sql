-- readers: NULL is everybody of the tenant, else entries `user:ID` and `group:ID`. Chunks repeat the list of their
-- document, so that the search in the index sees it without a join.
CREATE TABLE documents (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  document_id text NOT NULL,
  title text NOT NULL,
  body text NOT NULL,
  readers text[],
  PRIMARY KEY (tenant_id, document_id)
);

-- The index of the vectors is made by `preload`, after the rows that it begins with: that takes a tenth of the time.
CREATE TABLE chunks (
  tenant_id uuid NOT NULL,
  document_id text NOT NULL,
  chunk integer NOT NULL,
  body text NOT NULL,
  readers text[],
  embedding vector(128) NOT NULL,
  PRIMARY KEY (tenant_id, document_id, chunk),
  FOREIGN KEY (tenant_id, document_id) REFERENCES documents ON DELETE CASCADE
);

-- The application changes only what has a reason to change.
GRANT UPDATE (title, body, readers) ON documents TO bazaar_app;
GRANT DELETE ON chunks TO bazaar_app;
