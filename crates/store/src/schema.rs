//! The tables, as Diesel knows them. Written by `scripts/schema` from the migrations.

diesel::table! {
    api_keys (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        name -> Text,
        hash -> Bytea,
        shown -> Text,
        scopes -> Array<Text>,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        created_by -> Nullable<Text>,
        rotated_at -> Nullable<Timestamptz>,
        own_expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    attempts (day, delivery_id, number) {
        day -> Date,
        delivery_id -> Uuid,
        number -> Int4,
        workspace_id -> Uuid,
        trigger -> Text,
        started_at -> Timestamptz,
        duration_ms -> Int4,
        status -> Nullable<Int2>,
        error -> Nullable<Text>,
        error_detail -> Nullable<Text>,
        request_headers -> Jsonb,
        response_headers -> Jsonb,
        response_body -> Nullable<Text>,
        remote_ip -> Nullable<Text>,
        timings -> Nullable<Jsonb>,
        url -> Nullable<Text>,
    }
}

diesel::table! {
    audit (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        actor -> Text,
        action -> Text,
        subject -> Text,
        details -> Jsonb,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    blocked_destinations (host) {
        host -> Text,
        blocked_at -> Timestamptz,
    }
}

diesel::table! {
    clicks (day, id) {
        id -> Uuid,
        day -> Date,
        workspace_id -> Uuid,
        revision -> Int4,
        clicked_at -> Timestamptz,
        recorded_at -> Timestamptz,
        link_id -> Uuid,
        campaign_id -> Nullable<Text>,
        conversation_id -> Nullable<Text>,
        contact_id -> Nullable<Text>,
        message_id -> Nullable<Text>,
        channel -> Nullable<Text>,
        country -> Nullable<Text>,
        region -> Nullable<Text>,
        city -> Nullable<Text>,
        device_type -> Text,
        os -> Nullable<Text>,
        browser -> Nullable<Text>,
        verdict -> Text,
        is_first_click -> Nullable<Bool>,
        event -> Bytea,
        sequence_id -> Nullable<Text>,
        step_id -> Nullable<Text>,
        link_kind -> Nullable<Text>,
        referrer_host -> Nullable<Text>,
        language -> Nullable<Text>,
        erased_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    counted_clicks (is_only) {
        is_only -> Bool,
        first_day -> Date,
    }
}

diesel::table! {
    daily_rollups (workspace_id, dimension, bucket, is_other, value) {
        workspace_id -> Uuid,
        dimension -> Text,
        bucket -> Timestamptz,
        is_other -> Bool,
        value -> Text,
        human -> Int4,
        automated -> Int4,
        unknown -> Int4,
        unique_human -> Int4,
        unique_unknown -> Int4,
    }
}

diesel::table! {
    deliveries (day, id) {
        id -> Uuid,
        day -> Date,
        workspace_id -> Uuid,
        endpoint_id -> Uuid,
        event_id -> Uuid,
        event_revision -> Int4,
        replay_number -> Int4,
        event_type -> Text,
        click_id -> Nullable<Uuid>,
        status -> Text,
        attempt_count -> Int4,
        next_attempt_at -> Nullable<Timestamptz>,
        leased_until -> Nullable<Timestamptz>,
        leased_by -> Nullable<Uuid>,
        created_at -> Timestamptz,
        attempted_at -> Nullable<Timestamptz>,
        finished_at -> Nullable<Timestamptz>,
        duration_ms -> Nullable<Int4>,
        last_status -> Nullable<Int2>,
        last_error -> Nullable<Text>,
        response_body -> Nullable<Text>,
        body -> Nullable<Bytea>,
        replay_id -> Nullable<Uuid>,
        throttled -> Int4,
        timings -> Nullable<Bytea>,
        told_revision -> Int4,
        sequence -> Nullable<Int8>,
        order_key -> Nullable<Uuid>,
        batch_id -> Nullable<Uuid>,
        entered_in -> Int8,
    }
}

diesel::table! {
    delivery_batches (day, id) {
        id -> Uuid,
        day -> Date,
        first_day -> Date,
        workspace_id -> Uuid,
        endpoint_id -> Uuid,
        status -> Text,
        is_replay -> Bool,
        events -> Int4,
        attempt_count -> Int4,
        throttled -> Int4,
        next_attempt_at -> Nullable<Timestamptz>,
        leased_until -> Nullable<Timestamptz>,
        leased_by -> Nullable<Uuid>,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        body -> Nullable<Bytea>,
    }
}

diesel::table! {
    denied_recipients (template_number, recipient) {
        template_number -> Int4,
        recipient -> Int8,
        denied_at -> Timestamptz,
    }
}

diesel::table! {
    dirty_buckets (id) {
        id -> Int8,
        workspace_id -> Uuid,
        bucket -> Timestamptz,
        is_day -> Bool,
        marked_at -> Timestamptz,
    }
}

diesel::table! {
    domains (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        host -> Text,
        is_default -> Bool,
        created_at -> Timestamptz,
        hsts_max_age -> Nullable<Int4>,
        blocked_at -> Nullable<Timestamptz>,
        slug_case -> Text,
        proof_token -> Text,
        verified_at -> Nullable<Timestamptz>,
        proof_checked_at -> Nullable<Timestamptz>,
        proof_failure -> Nullable<Text>,
        fallback_url -> Nullable<Text>,
    }
}

diesel::table! {
    ended_key_sessions (id) {
        id -> Uuid,
        key_id -> Uuid,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    endpoint_changes (is_only) {
        is_only -> Bool,
        version -> Int8,
    }
}

diesel::table! {
    endpoint_checkpoints (endpoint_id, first_sequence) {
        endpoint_id -> Uuid,
        first_sequence -> Int8,
        workspace_id -> Uuid,
        last_sequence -> Int8,
        deliveries -> Int8,
        first_event_at -> Timestamptz,
        last_event_at -> Timestamptz,
        digest -> Bytea,
        closed_at -> Timestamptz,
    }
}

diesel::table! {
    endpoint_secrets (id) {
        id -> Uuid,
        endpoint_id -> Uuid,
        workspace_id -> Uuid,
        sealed -> Bytea,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        key_sealed -> Nullable<Bytea>,
    }
}

diesel::table! {
    endpoint_sequences (endpoint_id) {
        endpoint_id -> Uuid,
        workspace_id -> Uuid,
        last -> Int8,
    }
}

diesel::table! {
    endpoint_state (endpoint_id) {
        endpoint_id -> Uuid,
        workspace_id -> Uuid,
        paused_until -> Nullable<Timestamptz>,
        first_failure_at -> Nullable<Timestamptz>,
        last_failure_at -> Nullable<Timestamptz>,
        last_success_at -> Nullable<Timestamptz>,
        delivered -> Int8,
        failed -> Int8,
        updated_at -> Timestamptz,
        failed_messages -> Int8,
        told_since -> Nullable<Timestamptz>,
        warned_percent -> Int2,
        failing_told_at -> Nullable<Timestamptz>,
        dead_told_at -> Nullable<Timestamptz>,
        courier -> Nullable<Uuid>,
        courier_until -> Nullable<Timestamptz>,
        dead_alerted_at -> Nullable<Timestamptz>,
        dead_unalerted -> Int8,
    }
}

diesel::table! {
    endpoints (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        url -> Text,
        description -> Nullable<Text>,
        event_types -> Array<Text>,
        filter -> Nullable<Jsonb>,
        headers_sealed -> Nullable<Bytea>,
        state -> Text,
        state_reason -> Nullable<Text>,
        max_in_flight -> Nullable<Int4>,
        timeout_ms -> Nullable<Int4>,
        retry_schedule -> Nullable<Array<Int4>>,
        permanent_statuses -> Array<Int2>,
        owed_from -> Timestamptz,
        revision -> Int8,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        auto_disable -> Bool,
        state_since -> Nullable<Timestamptz>,
        rate_per_second -> Nullable<Int4>,
        rate_burst -> Nullable<Int4>,
        kind -> Text,
        alert_format -> Nullable<Text>,
        settle_ms -> Int4,
        ordering -> Nullable<Jsonb>,
        batch -> Nullable<Jsonb>,
        payload -> Nullable<Jsonb>,
        signs_v1a -> Bool,
        delivery -> Text,
        verified_at -> Nullable<Timestamptz>,
        checkpoint_minutes -> Nullable<Int4>,
        auth_sealed -> Nullable<Bytea>,
    }
}

diesel::table! {
    erasure_salts (workspace_id) {
        workspace_id -> Uuid,
        salt -> Bytea,
    }
}

diesel::table! {
    erasures (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        contact_hash -> Bytea,
        erased_at -> Timestamptz,
        erased_by -> Text,
        stage -> Text,
        position -> Nullable<Uuid>,
        looks_left -> Int2,
        due_at -> Timestamptz,
        scrubbed_at -> Nullable<Timestamptz>,
        links -> Int8,
        clicks -> Int8,
        deliveries -> Int8,
        deliveries_ended -> Int8,
        first_clicks -> Int8,
        quarantined -> Int8,
    }
}

diesel::table! {
    first_clicks (link_id, visitor) {
        link_id -> Uuid,
        visitor -> Text,
        click_id -> Uuid,
        is_hash -> Nullable<Bool>,
    }
}

diesel::table! {
    idempotency_keys (workspace_id, operation, key) {
        workspace_id -> Uuid,
        operation -> Text,
        key -> Text,
        fingerprint -> Bytea,
        subject -> Uuid,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    invitations (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        email -> Text,
        role -> Nullable<Text>,
        hash -> Bytea,
        created_by -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    link_rollups (workspace_id, link_id, bucket) {
        workspace_id -> Uuid,
        link_id -> Uuid,
        bucket -> Timestamptz,
        human -> Int4,
        automated -> Int4,
        unknown -> Int4,
        unique_human -> Int4,
        unique_unknown -> Int4,
    }
}

diesel::table! {
    link_templates (number) {
        number -> Int4,
        link_id -> Uuid,
        workspace_id -> Uuid,
        created_at -> Timestamptz,
        closed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    links (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        domain_id -> Uuid,
        slug -> Text,
        revision -> Int4,
        original_url -> Text,
        external_id -> Nullable<Text>,
        campaign_id -> Nullable<Text>,
        conversation_id -> Nullable<Text>,
        contact_id -> Nullable<Text>,
        message_id -> Nullable<Text>,
        channel -> Nullable<Text>,
        tags -> Array<Text>,
        metadata -> Jsonb,
        status_code -> Int2,
        query_mode -> Text,
        tracking -> Text,
        enabled -> Bool,
        starts_at -> Nullable<Timestamptz>,
        expires_at -> Nullable<Timestamptz>,
        expired_url -> Nullable<Text>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        archived_at -> Nullable<Timestamptz>,
        kind -> Text,
        utm -> Jsonb,
        sent_at -> Nullable<Timestamptz>,
        password_hash -> Nullable<Text>,
        max_clicks -> Nullable<Int4>,
        counted_clicks -> Int4,
        exhausted_at -> Nullable<Timestamptz>,
        sequence_id -> Nullable<Text>,
        step_id -> Nullable<Text>,
        created_by -> Nullable<Text>,
        preview -> Nullable<Jsonb>,
        blocked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    memberships (workspace_id, person_id) {
        workspace_id -> Uuid,
        person_id -> Uuid,
        role -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    minting_keys (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        number -> Int2,
        sealed -> Nullable<Bytea>,
        created_by -> Text,
        created_at -> Timestamptz,
        retired_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    outbox (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        event_type -> Text,
        data -> Jsonb,
        occurred_at -> Timestamptz,
    }
}

diesel::table! {
    people (id) {
        id -> Uuid,
        email -> Text,
        name -> Text,
        password_hash -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    quarantine (stream, stream_sequence, consumer, quarantined_at) {
        stream -> Text,
        stream_sequence -> Int8,
        message_id -> Nullable<Text>,
        consumer -> Text,
        subject -> Text,
        reason -> Text,
        payload -> Bytea,
        quarantined_at -> Timestamptz,
        id -> Uuid,
        replayed_at -> Nullable<Timestamptz>,
        removed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    replays (id) {
        id -> Uuid,
        workspace_id -> Uuid,
        endpoint_id -> Uuid,
        what -> Text,
        since -> Timestamptz,
        until -> Timestamptz,
        event_type -> Nullable<Text>,
        delivery_ids -> Array<Uuid>,
        rate_per_second -> Int4,
        state -> Text,
        error -> Nullable<Text>,
        total -> Nullable<Int8>,
        done -> Int8,
        position -> Nullable<Uuid>,
        due_at -> Timestamptz,
        created_by -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        campaign_id -> Nullable<Text>,
    }
}

diesel::table! {
    rollups (workspace_id, dimension, bucket, is_other, value) {
        workspace_id -> Uuid,
        dimension -> Text,
        bucket -> Timestamptz,
        is_other -> Bool,
        value -> Text,
        human -> Int4,
        automated -> Int4,
        unknown -> Int4,
        unique_human -> Int4,
        unique_unknown -> Int4,
    }
}

diesel::table! {
    sessions (id) {
        id -> Uuid,
        hash -> Bytea,
        person_id -> Uuid,
        workspace_id -> Uuid,
        user_agent -> Nullable<Text>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        last_seen_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    settings (workspace_id) {
        workspace_id -> Uuid,
        is_tracking -> Bool,
        address_treatment -> Text,
        fallback_url -> Nullable<Text>,
        revision -> Int8,
        updated_at -> Timestamptz,
        app_schemes -> Array<Text>,
        is_anonymous -> Bool,
        gpc_policy -> Text,
        dnt_policy -> Text,
        channel_tracking -> Jsonb,
        campaign_tracking -> Jsonb,
    }
}

diesel::table! {
    unmarked_hours (hour) {
        hour -> Timestamptz,
    }
}

diesel::table! {
    visitor_salts (day) {
        day -> Date,
        salt -> Bytea,
    }
}

diesel::table! {
    workspaces (id) {
        id -> Uuid,
        name -> Text,
        created_at -> Timestamptz,
    }
}

diesel::joinable!(api_keys -> workspaces (workspace_id));
diesel::joinable!(audit -> workspaces (workspace_id));
diesel::joinable!(denied_recipients -> link_templates (template_number));
diesel::joinable!(domains -> workspaces (workspace_id));
diesel::joinable!(ended_key_sessions -> api_keys (key_id));
diesel::joinable!(endpoint_checkpoints -> endpoints (endpoint_id));
diesel::joinable!(endpoint_checkpoints -> workspaces (workspace_id));
diesel::joinable!(endpoint_secrets -> endpoints (endpoint_id));
diesel::joinable!(endpoint_secrets -> workspaces (workspace_id));
diesel::joinable!(endpoint_sequences -> endpoints (endpoint_id));
diesel::joinable!(endpoint_sequences -> workspaces (workspace_id));
diesel::joinable!(endpoint_state -> endpoints (endpoint_id));
diesel::joinable!(endpoint_state -> workspaces (workspace_id));
diesel::joinable!(endpoints -> workspaces (workspace_id));
diesel::joinable!(erasure_salts -> workspaces (workspace_id));
diesel::joinable!(erasures -> workspaces (workspace_id));
diesel::joinable!(idempotency_keys -> workspaces (workspace_id));
diesel::joinable!(invitations -> workspaces (workspace_id));
diesel::joinable!(link_templates -> links (link_id));
diesel::joinable!(link_templates -> workspaces (workspace_id));
diesel::joinable!(links -> domains (domain_id));
diesel::joinable!(links -> workspaces (workspace_id));
diesel::joinable!(memberships -> people (person_id));
diesel::joinable!(memberships -> workspaces (workspace_id));
diesel::joinable!(minting_keys -> workspaces (workspace_id));
diesel::joinable!(replays -> endpoints (endpoint_id));
diesel::joinable!(replays -> workspaces (workspace_id));
diesel::joinable!(sessions -> people (person_id));
diesel::joinable!(sessions -> workspaces (workspace_id));
diesel::joinable!(settings -> workspaces (workspace_id));

diesel::allow_tables_to_appear_in_same_query!(
    api_keys,
    attempts,
    audit,
    blocked_destinations,
    clicks,
    counted_clicks,
    daily_rollups,
    deliveries,
    delivery_batches,
    denied_recipients,
    dirty_buckets,
    domains,
    ended_key_sessions,
    endpoint_changes,
    endpoint_checkpoints,
    endpoint_secrets,
    endpoint_sequences,
    endpoint_state,
    endpoints,
    erasure_salts,
    erasures,
    first_clicks,
    idempotency_keys,
    invitations,
    link_rollups,
    link_templates,
    links,
    memberships,
    minting_keys,
    outbox,
    people,
    quarantine,
    replays,
    rollups,
    sessions,
    settings,
    unmarked_hours,
    visitor_salts,
    workspaces,
);
