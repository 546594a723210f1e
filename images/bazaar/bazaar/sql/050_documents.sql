CREATE TABLE documents (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  document_id text NOT NULL,
  title text NOT NULL,
  body text NOT NULL,
  embedding vector(256) NOT NULL,
  PRIMARY KEY (tenant_id, document_id)
);

-- The application changes only what has a reason to change.
GRANT UPDATE (title, body, embedding) ON documents TO bazaar_app;
