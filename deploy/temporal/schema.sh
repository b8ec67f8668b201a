#!/bin/sh
# Brings Temporal's two databases to the schema of the tool that runs here; what is there already stays.
set -eu
SQL_PASSWORD=$(cat "$SQL_PASSWORD_FILE")
export SQL_PASSWORD SQL_USER=temporal SQL_PLUGIN=postgres12_pgx

# schema DATABASE NAME. The first command makes the tables that keep the version, where there are none.
schema() {
	export SQL_DATABASE="$1"
	temporal-sql-tool setup-schema --version 0.0
	temporal-sql-tool update-schema --schema-name "postgresql/v12/$2"
}
schema temporal temporal
schema temporal_visibility visibility
