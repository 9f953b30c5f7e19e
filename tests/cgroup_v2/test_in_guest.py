"""What must hold where cgroup v2 is all there is, as on a fresh Debian: the machine that runs the tests may be another.

The tests named here run inside a virtual machine with Debian's kernel (machine.py); each is told here by its own name.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .guest import Guest

_TESTS = {
    "tests/kernel/cgroups/only_v2.py": (
        "test_this_machine_has_cgroup_v2_and_nothing_else",
        "test_the_files_of_the_kernel_hold_what_was_asked_for",
        "test_a_group_above_its_soft_memory_limit_is_slowed_and_not_killed",
        "test_protected_memory_stays_when_its_neighbour_is_reclaimed",
        "test_each_limit_that_somebody_else_changes_is_seen_as_drift_and_put_back",
    ),
    "tests/kernel/cgroups/delegated.py": (
        "test_groups_lie_below_our_unit_whose_own_group_has_no_process",
        "test_systemd_reads_its_units_anew_and_leaves_our_groups_and_limits_alone[daemon-reload]",
        "test_systemd_reads_its_units_anew_and_leaves_our_groups_and_limits_alone[daemon-reexec]",
        "test_a_tighter_limit_that_an_admin_gives_the_unit_is_the_effective_one",
    ),
    "tests/kernel/cgroups/test_parts.py": (
        "test_limits_by_disk_are_set_one_by_one_read_back_and_cleared",
        "test_the_tightest_of_the_groups_above_counts_disk_by_disk_where_it_holds_those_inside",
        "test_a_rate_holds_the_groups_inside_unless_the_host_is_said_to_have_no_such_thing",
        "test_a_program_copies_no_faster_than_its_rate[read-io_read_bytes]",
        "test_a_program_copies_no_faster_than_its_rate[write-io_write_bytes]",
        "test_a_program_makes_no_more_operations_than_allowed",
        "test_the_weight_of_a_disk_waits_for_a_scheduler_that_has_weights",
        "test_huge_pages_are_limited_and_what_is_in_use_is_told",
    ),
    "tests/kernel/cgroups/test_enforcement.py": (
        "test_a_program_that_never_rests_gets_its_share_of_a_cpu[0.2]",
        "test_a_contended_cpu_is_shared_by_weight",
        "test_a_program_runs_on_its_cpus_alone_and_moves_with_them",
        "test_a_group_that_forks_stays_within_its_number_and_is_killed_whole",
    ),
    "tests/kernel/cgroups/test_groups.py": (
        "test_all_are_killed_at_once_and_the_group_can_go",
        "test_a_paused_group_can_be_killed",
        "test_groups_made_inside_are_counted_killed_and_removed_too",
        "test_the_shell_commands_make_the_same_group",
    ),
    "tests/kernel/cgroups/test_limits.py": (
        "test_each_limit_is_set_read_back_and_cleared_live",
        "test_memory_below_the_use_is_refused_with_the_numbers_and_nothing_changed",
        "test_a_process_over_its_memory_is_killed_and_counted",
    ),
    "tests/engines/test_raw_create.py": (
        "test_a_default_sandbox_runs_in_namespaces_of_its_own",
        "test_it_pings_the_bridge_and_has_a_default_route",
        "test_the_limits_are_in_the_kernel_before_the_program_runs",
        "test_files_of_the_image_belong_to_root_inside_and_the_layer_is_its_own",
    ),
    "tests/engines/test_raw_lifecycle.py": (
        "test_a_memory_hog_is_told_as_oom_killed",
        "test_pause_freezes_and_resume_goes_on",
        "test_stopping_a_program_that_ignores_sigterm_as_pid_1_does_not_wait",
        "test_a_limit_moves_live_and_clears",
        "test_a_terminal_is_a_tty_of_the_sandbox",
        "test_removing_leaves_no_process_cgroup_directory_or_link",
    ),
    "tests/engines/test_raw_spares.py": (
        "test_a_taken_spare_is_a_sandbox_of_its_own",
        "test_it_shows_the_same_mounts_as_one_that_was_launched_in_one_go",
        "test_closing_leaves_nothing_of_the_spares",
    ),
    "tests/engines/test_raw_security.py": (
        "test_a_read_only_root_has_the_mounts_that_were_asked_for_where_the_image_has_no_such_directory",
    ),
    "tests/engines/test_raw_life.py": (
        "test_an_init_is_the_first_process_and_reaps_orphans",
        "test_an_init_hands_the_stop_signal_on_and_the_end_is_told_in_words",
        "test_rlimits_hold_for_the_program_and_for_what_is_run_later",
        "test_a_hard_limit_above_the_keepers_is_raised_or_refused_in_words",
        "test_the_oom_score_holds_for_the_program_and_for_what_is_run_later",
        "test_a_score_below_zero_is_the_policys_to_allow",
    ),
    "tests/engines/test_raw_restart.py": (
        "test_on_failure_tries_as_often_as_asked_and_says_so",
        "test_a_kill_by_a_user_ends_it_and_one_from_outside_does_not",
        "test_a_new_worker_goes_on_with_what_was_due",
    ),
    "tests/engines/test_groups.py": (
        "test_a_process_of_the_host_shares_the_budget_and_goes_back_when_the_group_goes",
        "test_a_group_that_is_there_without_its_limits_gets_them_after_a_restart_of_the_host",
    ),
    "tests/engines/test_raw_network.py": (
        "test_a_rate_holds_a_flow[256000-net_in-command0]",
        "test_a_rate_holds_a_flow[256000-net_out-command1]",
    ),
    "tests/engines/test_raw_survival.py": (
        "test_a_new_worker_finds_running_sandboxes_running",
        "test_what_ends_without_its_keeper_is_told_with_its_code_and_signal[gone]",
        "test_remove_everything_leaves_nothing",
    ),
}
IN_GUEST = [f"{file}::{name}" for file, names in _TESTS.items() for name in names]


@pytest.mark.parametrize(("file", "names"), _TESTS.items(), ids=_TESTS)
def test_what_is_named_here_is_there(file: str, names: tuple[str, ...]) -> None:
    """Before the guest is waited for: it runs none of them when there is one that it can't find."""
    defined = set(re.findall(r"def (test_\w+)\(", Path(file).read_text()))
    assert {name.partition("[")[0] for name in names} <= defined


@pytest.mark.parametrize("test", IN_GUEST, ids=lambda test: test.partition("::test_")[2])
def test_on_a_machine_with_cgroup_v2_alone(guest: Guest, test: str) -> None:
    if failure := guest.failure_of(test):
        pytest.fail(failure, pytrace=False)
