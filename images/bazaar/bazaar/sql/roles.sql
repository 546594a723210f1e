-- Cluster-wide roles. Run as a superuser, because BYPASSRLS can be granted by nobody else.
-- Repeatable: a role that exists only gets its attributes and password again.
-- owner holds the tables and never logs in; app serves requests; relay moves the outbox; ops reads for auditors.
DO $$
DECLARE role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY['bazaar_owner', 'bazaar_app', 'bazaar_relay', 'bazaar_ops'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
      EXECUTE format('CREATE ROLE %I', role_name);
    END IF;
  END LOOP;
END $$;
ALTER ROLE bazaar_owner NOLOGIN NOSUPERUSER NOBYPASSRLS;
ALTER ROLE bazaar_app LOGIN NOSUPERUSER NOBYPASSRLS;
ALTER ROLE bazaar_relay LOGIN NOSUPERUSER NOBYPASSRLS;
ALTER ROLE bazaar_ops LOGIN NOSUPERUSER BYPASSRLS;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS bazaar AUTHORIZATION bazaar_owner;
GRANT USAGE ON SCHEMA bazaar TO bazaar_app, bazaar_relay, bazaar_ops;
ALTER ROLE bazaar_app SET search_path = bazaar, public;
ALTER ROLE bazaar_relay SET search_path = bazaar, public;
ALTER ROLE bazaar_ops SET search_path = bazaar, public;
