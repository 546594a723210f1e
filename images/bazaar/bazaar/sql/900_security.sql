-- After all tables: row-level security on every one, for the owner too, for reading and for writing.
-- The context is a transaction-local setting; without one the comparison is NULL and no row is visible.
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE
  RETURN nullif(current_setting('bazaar.tenant', true), '')::uuid;

DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'bazaar' AND tablename <> 'migrations' LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant())
                    WITH CHECK (tenant_id = current_tenant())', name);
    EXECUTE format('GRANT SELECT ON %I TO bazaar_ops', name);
    EXECUTE format('GRANT SELECT, INSERT ON %I TO bazaar_app', name);
  END LOOP;
END $$;
