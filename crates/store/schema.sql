-- Writes src/schema.rs from the tables of a database: every table but partitions' children and Diesel's own.
WITH columns AS (
    SELECT
        class.oid AS table_oid,
        class.relname AS table_name,
        attribute.attname AS name,
        attribute.attnum AS position,
        CASE WHEN attribute.attnotnull THEN sql_type.rust ELSE format('Nullable<%s>', sql_type.rust) END AS rust
    FROM pg_class class
    JOIN pg_attribute attribute ON attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    JOIN pg_type type ON type.oid = attribute.atttypid
    CROSS JOIN LATERAL (
        SELECT CASE ltrim(type.typname, '_')
            WHEN 'bool' THEN 'Bool' WHEN 'bytea' THEN 'Bytea' WHEN 'date' THEN 'Date'
            WHEN 'int2' THEN 'Int2' WHEN 'int4' THEN 'Int4' WHEN 'int8' THEN 'Int8'
            WHEN 'float8' THEN 'Float8' WHEN 'jsonb' THEN 'Jsonb' WHEN 'text' THEN 'Text'
            WHEN 'timestamptz' THEN 'Timestamptz' WHEN 'uuid' THEN 'Uuid'
            ELSE format('Unknown_%s', type.typname)
        END AS rust
    ) plain
    CROSS JOIN LATERAL (
        -- no list of ours holds nulls
        SELECT CASE WHEN type.typcategory = 'A' THEN format('Array<%s>', plain.rust) ELSE plain.rust END AS rust
    ) sql_type
    WHERE class.relnamespace = 'public'::regnamespace
        AND class.relkind IN ('r', 'p')
        AND NOT class.relispartition
        AND class.relname NOT LIKE '\_\_%'
),
tables AS (
    SELECT
        table_name,
        (
            SELECT string_agg(attribute.attname, ', ' ORDER BY key.ordinality)
            FROM pg_index index
            CROSS JOIN LATERAL unnest(index.indkey::smallint[]) WITH ORDINALITY AS key (attnum, ordinality)
            JOIN pg_attribute attribute ON attribute.attrelid = index.indrelid AND attribute.attnum = key.attnum
            WHERE index.indrelid = table_oid AND index.indisprimary
        ) AS primary_key,
        string_agg(format(E'        %s -> %s,\n', name, rust), '' ORDER BY position) AS columns
    FROM columns
    GROUP BY table_oid, table_name
),
joins AS (
    SELECT DISTINCT
        child.relname AS child,
        parent.relname AS parent,
        attribute.attname AS by
    FROM pg_constraint
    JOIN pg_class child ON child.oid = conrelid AND NOT child.relispartition
    JOIN pg_class parent ON parent.oid = confrelid
    JOIN pg_attribute attribute ON attribute.attrelid = conrelid AND attribute.attnum = conkey[1]
    WHERE contype = 'f'
)
SELECT
    E'//! The tables, as Diesel knows them. Written by `scripts/schema` from the migrations.\n\n'
    || (
        SELECT string_agg(
            format(E'diesel::table! {\n    %s (%s) {\n%s    }\n}\n', table_name, primary_key, columns),
            E'\n' ORDER BY table_name
        )
        FROM tables
    )
    || E'\n'
    || (
        SELECT string_agg(format(E'diesel::joinable!(%s -> %s (%s));\n', child, parent, by), '' ORDER BY child, parent)
        FROM joins
    )
    || E'\ndiesel::allow_tables_to_appear_in_same_query!(\n'
    || (SELECT string_agg(format(E'    %s,\n', table_name), '' ORDER BY table_name) FROM tables)
    || E');\n' AS schema
