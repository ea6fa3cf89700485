-- Two roles that nobody logs in as, and that own nothing. Each transaction takes one of them on:
-- pulsestream_tenant, bound to the tenant that pulsestream.tenant names, and pulsestream_installation, which spans tenants
-- but adds only to the log partition that pulsestream.partition names; -1 is for the upkeep, which moves what is there.
-- The login may take on either, and PostgreSQL lets a member of a role pass for it: the policies ask who it is at the moment.

GRANT USAGE ON SCHEMA pulsestream TO pulsestream_tenant, pulsestream_installation;
GRANT SELECT ON events, rollup_fresh, rollup_1m, rollup_1h, rollup_1d, transitions, quarantine TO pulsestream_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON resources TO pulsestream_tenant;
GRANT SELECT, UPDATE ON jobs TO pulsestream_tenant;
GRANT SELECT, UPDATE ON counters TO pulsestream_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON offsets, rollup_fresh, rollup_1m, rollup_1h, rollup_1d, fills, rule_states, transitions, quarantine, counters, resources,
	cursors, jobs TO pulsestream_installation;
GRANT SELECT ON events TO pulsestream_installation;
-- Events and fresh rollups are copied into the tables' parts; see 0001.
GRANT INSERT ON rollup_fresh_rows TO pulsestream_installation;

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['events', 'rollup_fresh', 'rollup_1m', 'rollup_1h', 'rollup_1d', 'fills', 'rule_states', 'transitions', 'quarantine', 'resources', 'jobs']
	LOOP
		IF (SELECT relkind FROM pg_class WHERE oid = t::regclass) = 'v' THEN
			GRANT INSERT ON events_rows TO pulsestream_installation;
			CONTINUE; -- the view is a wall itself: see timescale.go
		END IF;
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY of_tenant ON %I TO pulsestream_tenant
			USING ((SELECT current_user = ''pulsestream_tenant'') AND tenant = (SELECT current_setting(''pulsestream.tenant'', true)))', t);
		IF t IN ('events', 'rollup_fresh', 'fills', 'rule_states', 'transitions', 'quarantine') THEN
			EXECUTE format('CREATE POLICY of_partition ON %I TO pulsestream_installation USING ((SELECT current_user = ''pulsestream_installation''))
				WITH CHECK ((SELECT current_user = ''pulsestream_installation'')
					AND (SELECT nullif(current_setting(''pulsestream.partition'', true), '''')::int) IN ("partition", -1))', t);
		ELSE
			EXECUTE format('CREATE POLICY of_installation ON %I TO pulsestream_installation USING ((SELECT current_user = ''pulsestream_installation''))', t);
		END IF;
	END LOOP;
END
$$;
