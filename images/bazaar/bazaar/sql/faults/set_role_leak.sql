-- plant
-- A role for reports, which the application may become; what it can do is not bound to a tenant.
CREATE ROLE bazaar_report NOLOGIN BYPASSRLS;
GRANT USAGE ON SCHEMA bazaar TO bazaar_report;
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'bazaar' AND tablename <> 'migrations' LOOP
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON bazaar.%I TO bazaar_report', name);
  END LOOP;
END $$;
GRANT bazaar_report TO bazaar_app WITH INHERIT FALSE;
-- revert
DROP OWNED BY bazaar_report;
DROP ROLE bazaar_report;
