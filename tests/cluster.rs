//! The cluster of the tests is a cluster: what Kubernetes promises of Pods holds here, and the faults are
//! faults. Has a main of its own, since it starts itself again in namespaces of its own; takes parts of names
//! as arguments, as other tests do. With a cluster of the user's (`TEST_KUBECONFIG`) it runs there what needs
//! no faults.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "cluster/adoption.rs"]
mod adoption;
#[path = "cluster/binding.rs"]
mod binding;
#[path = "cluster/changes.rs"]
mod changes;
#[path = "cluster/charts.rs"]
mod charts;
#[path = "cluster/claims.rs"]
mod claims;
#[path = "cluster/crowd.rs"]
mod crowd;
#[path = "cluster/deployed.rs"]
mod deployed;
#[path = "cluster/docs.rs"]
mod docs;
#[path = "cluster/endpoint.rs"]
mod endpoint;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/fields.rs"]
mod fields;
#[path = "cluster/former.rs"]
mod former;
#[path = "cluster/from_charts.rs"]
mod from_charts;
#[path = "cluster/losses.rs"]
mod losses;
#[path = "cluster/modes.rs"]
mod modes;
#[path = "cluster/moving.rs"]
mod moving;
#[path = "cluster/namespaced.rs"]
mod namespaced;
#[path = "cluster/operator.rs"]
mod operator;
#[path = "cluster/outage.rs"]
mod outage;
#[path = "cluster/plugin.rs"]
mod plugin;
#[path = "cluster/pods.rs"]
mod pods;
#[path = "cluster/policies.rs"]
mod policies;
#[path = "cluster/quick_start.rs"]
mod quick_start;
#[path = "cluster/redisfailover.rs"]
mod redisfailover;
#[path = "cluster/rig.rs"]
mod rig;
#[path = "cluster/tasks.rs"]
mod tasks;
#[path = "cluster/tls.rs"]
mod tls;
#[path = "cluster/trouble.rs"]
mod trouble;
#[path = "cluster/unserved.rs"]
mod unserved;
#[path = "cluster/users.rs"]
mod users;
#[path = "cluster/valkey.rs"]
mod valkey;
#[path = "cluster/verbs.rs"]
mod verbs;
#[path = "cluster/waiting.rs"]
mod waiting;
#[path = "cluster/watched.rs"]
mod watched;

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tests::cluster::{self, Cluster, Image, Settings};
use tests::real::build_program;
use tokio::signal::unix::{SignalKind, signal};

/// Where a test can be run.
#[derive(PartialEq)]
enum Place {
    /// In a cluster that was given, too.
    Anywhere,
    /// In ours.
    Here,
    /// In the test's own, alone.
    Alone,
}

/// A test: it has a namespace of its own by its name.
struct Case {
    name: &'static str,
    place: Place,
    run: for<'a> fn(&'a Cluster, &'a str) -> LocalBoxFuture<'a, ()>,
}

macro_rules! cases {
    ($($place:ident $module:ident::$name:ident),* $(,)?) => {
        const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            place: Place::$place,
            run: |cluster, namespace| Box::pin($module::$name(cluster, namespace)),
        }),*];
    };
}

cases![
    // First: nothing else runs yet.
    Alone crowd::fifty_resources_fail_together_and_each_changes_its_master_once,
    Alone faults::a_lost_node_is_found_lost_and_comes_back,
    Alone faults::pods_live_on_while_the_api_server_is_away,
    Alone outage::a_master_that_dies_while_the_api_is_away_is_replaced_at_once_and_published_after,
    Alone losses::a_drained_node_loses_no_write,
    Alone losses::a_lost_node_takes_the_master_with_it_and_another_one_takes_over,
    Alone former::a_master_whose_pod_is_deleted_by_force_is_silent_and_is_stopped_when_back,
    // The longest: the others run beside them.
    Here charts::chart_of_helm_4_lives_through_all_its_releases_with_live_data,
    Here redisfailover::manifests_of_both_operators_become_groups,
    Here outage::an_operator_that_is_killed_after_any_step_leaves_nothing_half_done,
    Here outage::an_operator_that_slept_through_its_lease_does_no_harm_when_it_wakes,
    Here tasks::a_task_that_panics_is_started_again_and_counted_and_its_group_fails_over,
    Here endpoint::sentinel_clients_find_the_master_through_each_operator_and_go_on_when_one_dies,
    Here redisfailover::the_seed_s_manifest_is_a_group_that_sentinel_clients_follow_through_a_failover,
    Here watched::with_sentinels_assisted_a_killed_master_and_a_switchover_are_told_by_them_once,
    Here adoption::a_group_of_the_other_operator_is_adopted_while_clients_write_and_no_pod_is_replaced,
    Here adoption::an_adopted_group_with_a_password_and_claims_stands_back_for_another_and_is_rolled,
    Here watched::with_sentinels_deferred_they_promote_and_the_operator_follows,
    Here modes::the_mode_is_changed_under_load_between_all_three_and_no_master_changes,
    Here modes::a_master_that_dies_while_sentinels_give_way_to_endpoints_is_replaced_once,
    Here modes::a_password_is_changed_live_and_the_sentinels_log_in_with_it,
    Here unserved::what_cannot_be_served_is_refused_by_condition,
    Here policies::a_broken_policy_and_a_deleted_one_change_no_group,
    Here outage::a_status_that_is_dropped_takes_no_record_with_it,
    Here outage::a_killed_operator_is_replaced_by_the_other_and_the_failover_goes_on,
    // The cluster itself, then the operator on it.
    Here pods::a_stateful_set_of_three_becomes_ready_and_each_answers_at_its_address,
    Here pods::what_the_spec_says_reaches_the_process,
    Here pods::init_containers_run_first_and_a_job_of_a_pod_ends,
    Here pods::a_deleted_pod_ends_within_its_grace_and_is_made_again,
    Here pods::a_pod_that_ignores_sigterm_is_killed_after_its_grace,
    Here pods::a_config_volume_is_updated_live_but_not_a_sub_path,
    Here pods::a_claim_keeps_what_a_pod_wrote,
    Here pods::an_unknown_image_is_not_pulled,
    Here pods::an_eviction_is_refused_by_a_budget_and_else_granted,
    Here pods::a_service_account_has_its_rights_and_no_more,
    Here faults::a_killed_container_is_restarted_in_place,
    Here faults::a_stopped_process_is_unready_until_it_goes_on,
    Here faults::a_process_that_fails_its_liveness_is_restarted,
    Here faults::a_cut_pod_is_unreachable_and_heals,
    Here faults::a_one_way_cut_is_one_way_and_between_two_only,
    Anywhere operator::the_walk_through_of_the_predecessor_works,
    Here operator::a_killed_master_is_replaced_and_comes_back_as_a_replica_without_harm,
    Anywhere operator::what_is_deleted_or_edited_is_made_right_again,
    Anywhere operator::a_status_that_another_client_wrote_is_taken_over_and_made_right,
    Anywhere changes::a_directive_is_set_live_and_one_that_is_read_at_the_start_is_rolled_out_without_loss,
    Anywhere changes::a_directive_that_redis_refuses_is_in_the_condition_and_restarts_no_pod,
    Here users::declared_users_are_set_live_rotated_and_deleted_and_a_refused_right_changes_nothing,
    Here valkey::a_group_goes_from_redis_to_valkey_without_loss_and_the_way_back_is_refused_with_the_reason,
    Here claims::claims_grow_under_running_pods_and_what_cannot_be_is_told,
    Here claims::a_network_policy_is_made_on_request_and_goes_with_it,
    Here changes::a_password_is_changed_live_without_restart_or_loss,
    Here tls::with_tls_a_killed_master_is_replaced_and_a_new_authority_is_loaded_without_restart,
    Anywhere changes::scaling_down_to_one_and_up_again_moves_the_master_first_and_loses_nothing,
    Anywhere changes::an_image_of_a_newer_redis_is_rolled_out_under_load_and_loses_nothing,
    Here changes::a_version_that_cannot_copy_from_the_master_stops_the_rollout_at_one_until_it_is_reverted,
    Anywhere changes::other_resources_are_rolled_out_replicas_first_and_the_master_by_handover,
    Anywhere trouble::a_missing_secret_is_in_the_condition_and_no_pod_starts_without_a_password,
    Anywhere trouble::an_image_that_cannot_be_pulled_is_in_the_condition_and_stops_the_rollout_at_one,
    Anywhere trouble::pods_that_cannot_start_or_be_created_are_in_the_condition_with_the_reason,
    Anywhere trouble::foreign_objects_are_not_changed_and_named_in_the_condition,
    Anywhere trouble::what_the_schema_refuses_says_how_to_write_it,
    Here trouble::what_happened_can_be_read_as_events,
    Anywhere trouble::pods_run_where_only_restricted_ones_may,
    Here losses::a_hung_master_is_replaced_and_joins_as_a_replica_when_it_wakes,
    Here losses::masters_that_hang_together_are_replaced_after_the_operator_doubted_itself,
    Anywhere losses::a_deleted_master_hands_over_before_it_goes,
    Anywhere losses::all_are_deleted_at_once_and_no_write_is_lost,
    Here losses::all_but_one_are_lost_and_the_data_survives,
    Here losses::all_are_lost_at_once_and_come_back_from_their_claims,
    Here losses::former_files_are_kept_on_the_volume,
    Here losses::all_are_lost_at_once_with_their_memory_and_are_a_group_again,
    Here losses::a_master_that_is_cut_from_its_replicas_refuses_writes_by_itself,
    Here losses::a_master_that_the_operator_cannot_reach_is_not_replaced_while_its_replicas_report_link_up,
    Here losses::another_group_at_the_former_address_of_a_master_is_not_copied,
    Here losses::a_third_of_all_packets_lost_changes_no_master,
    Here losses::a_deleted_resource_in_the_midst_of_a_failover_goes_with_all_that_is_its,
    Anywhere losses::edits_by_others_are_reverted_without_harm,
    Here outage::a_stolen_lease_stops_the_first_and_the_second_goes_on,
    Here outage::a_master_that_comes_back_empty_while_no_operator_runs_deletes_no_data,
    Anywhere policies::a_bad_policy_is_refused_by_the_api_with_the_way_out,
    Here policies::a_policy_in_a_config_map_is_swapped_while_a_master_dies_and_no_write_is_lost,
    Here policies::a_policy_put_right_decides_while_the_bad_one_is_still_being_proven,
    Here policies::a_policy_that_does_not_know_sentinels_decides_for_no_group_that_has_them,
    Here policies::a_shadow_is_counted_and_changes_nothing,
    Here policies::a_policy_comes_from_a_registry_and_another_file_is_refused,
    Here policies::a_policy_reaches_no_file_and_no_secret_of_others,
    Here plugin::a_group_is_shown_explained_and_observed_through_the_operator,
    Here plugin::a_switchover_is_followed_while_writes_run_and_a_pause_holds_it_back,
    Here plugin::the_verbs_know_a_redisfailover,
    Here verbs::logs_and_a_report_tell_what_happened_and_no_secret_and_cli_opens_the_group,
    Here verbs::a_report_and_cli_know_a_redisfailover_with_its_password_and_port,
    Here verbs::a_restart_replaces_every_pod_and_the_master_by_handover,
    Here verbs::a_group_hibernates_and_wakes_with_all_that_was_acknowledged,
    Here fields::what_users_add_reaches_pods_and_services_and_what_cannot_be_is_refused,
    Here waiting::who_waits_for_a_resource_waits_until_the_last_pod_has_what_was_asked,
    Here binding::a_password_is_made_on_request_and_the_binding_opens_the_group,
    Here from_charts::a_group_takes_over_from_bitnami_s_chart_without_loss,
    Here from_charts::a_group_takes_over_from_dandydeveloper_s_chart_without_loss,
    Anywhere moving::a_paused_group_takes_the_data_of_a_master_outside_and_goes_on_with_it,
    Here endpoint::clients_outside_are_told_of_pods_by_the_addresses_of_their_services,
    Here endpoint::an_endpoint_asks_for_its_password_and_hands_over_where_that_is_allowed,
    Here unserved::what_another_operator_made_is_not_touched_until_it_is_handed_over,
    Anywhere deployed::every_example_fits_the_schema,
    // What a chart installs looks after all namespaces, too, and is gone when they end.
    Alone charts::chart_of_helm_3_lives_through_all_its_releases_with_live_data,
    // Last: what is deployed looks after all namespaces.
    Alone namespaced::with_rights_in_named_namespaces_and_to_named_secrets_alone_it_does_all_of_it,
    Alone deployed::what_is_deployed_does_the_walk_through_and_its_rights_are_enough_and_no_more,
    Alone docs::the_commands_of_the_pages_run,
    Alone deployed::an_operator_that_is_killed_is_back_and_one_that_is_gone_is_replaced_by_the_other,
    Alone deployed::a_missing_right_is_named_in_the_log_and_an_operator_without_it_is_not_ready,
    // The very last: it takes away what the others begin with.
    Alone quick_start::a_script_goes_from_a_cluster_with_helm_to_a_client_that_has_written,
];

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if std::env::args().any(|word| word == "--list") {
        CASES.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    let given = std::env::var_os("TEST_KUBECONFIG").map(PathBuf::from);
    if given.is_none()
        && let Err(why) = Cluster::is_possible().and_then(|()| cluster::enter(|| Ok(None)))
    {
        println!("skipped: the cluster: {why:#}");
        return ExitCode::SUCCESS;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let mut signal = signal(kind).unwrap();
            tokio::spawn(async move {
                signal.recv().await;
                // All others in here end with us, and their files with the file system in memory.
                std::process::exit(130);
            });
        }
        run(&filters, given.as_deref()).await
    })
}

async fn run(filters: &[String], given: Option<&Path>) -> ExitCode {
    let is_chosen = |case: &&Case| {
        let is_meant = filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter.as_str()));
        is_meant && (given.is_none() || case.place == Place::Anywhere)
    };
    let chosen: Vec<_> = CASES.iter().filter(is_chosen).collect();
    println!("\nrunning {} tests", chosen.len());
    let began = Instant::now();
    let started = match given {
        Some(kubeconfig) => Cluster::given(kubeconfig, &[CRDS]).await,
        None => {
            let mut settings = Settings { first: vec![CRDS.into()], ..Settings::default() };
            settings.images.push(Image::of_program(
                "redis-operator",
                "/redis-operator",
                build_program().to_owned(),
            ));
            Cluster::start(Path::new("/run/cluster"), settings).await
        }
    };
    let cluster = match started {
        Ok(cluster) => cluster,
        Err(error) => {
            println!("no cluster to test in: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    println!("the cluster was up in {:.1} s", began.elapsed().as_secs_f32());
    let mut failed = Vec::new();
    for some in chosen.chunk_by(|one, next| one.place != Place::Alone && next.place != Place::Alone) {
        let ended =
            futures_util::stream::iter(some).map(async |case| (case.name, ends_well(&cluster, case).await));
        let ended: Vec<_> = ended.buffer_unordered(AT_ONCE).collect().await;
        failed.extend(ended.into_iter().filter_map(|(name, is_well)| (!is_well).then_some(name)));
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    let (passed, out) = (chosen.len() - failed.len(), CASES.len() - chosen.len());
    let seconds = began.elapsed().as_secs_f32();
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; 0 ignored; 0 measured; {out} filtered out; \
         finished in {seconds:.2}s\n",
        failed.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn ends_well(cluster: &Cluster, Case { name, run, .. }: &Case) -> bool {
    let began = Instant::now();
    let namespace = name.replace('_', "-")[..name.len().min(63)].trim_end_matches('-').to_owned();
    cluster.create_namespace(&namespace).await;
    let is_well = AssertUnwindSafe(run(cluster, &namespace)).catch_unwind().await.is_ok();
    println!(
        "test {name} ... {} ({:.1} s)",
        if is_well { "ok" } else { "FAILED" },
        began.elapsed().as_secs_f32()
    );
    if is_well {
        // What it started would run on beside the next ones.
        cluster.delete_namespace(&namespace).await;
    } else {
        println!(
            "{}",
            cluster
                .kubectl(&["get", "pods,events", "-o", "wide", "-n", &namespace])
                .await
                .unwrap_or_default()
        );
    }
    is_well
}

/// They wait for most of their time.
const AT_ONCE: usize = 4;

/// As `deploy/` has them.
const CRDS: &str = include_str!("../deploy/crds.yaml");
