"""Take each protection out, see its test fail: ``python tests/programs/mutants.py``.

A test that passes without what it tests proves nothing. Needs what builds and tests the
package in the running environment (meson-python, meson, ninja, cython, pytest, hypothesis).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """A replacement in one file of the package, and the test that must notice."""

    what: str
    file: str
    old: str
    new: str
    test: str


# The test that goes through all features with one system call refused.
SANDBOX = (
    "faults/test_sandbox.py::test_a_call_that_is_refused_is_missed_by_what_says_so_alone"
)

MUTANTS = [
    Mutant(
        "a method is called on anything",
        "_mapping/receivers.pxi",
        "if (!PyType_IsSubtype(r.type, r.kind))",
        "if (0)",
        "mapping/test_receivers.py::test_no_method_takes_what_is_not_of_its_class",
    ),
    Mutant(
        "a class that has changed its bases is known still",
        "_mapping/receivers.pxi",
        "return (uint64_t)r.type->tp_version_tag << 32 |",
        "return (uint64_t)(uintptr_t)r.type << 32 |",
        "mapping/test_receivers.py::test_a_class_that_changes_its_bases_is_looked_at_again",
    ),
    Mutant(
        "a mapping that is being freed is held at a fork",
        "_mapping/forking.pxi",
        "if Py_REFCNT(<PyObject *> next_one) > 0:\n"
        "                mapping = (<Mapping> next_one).reference()",
        "if True:\n                mapping = <Mapping> next_one",
        "mapping/test_forking.py::test_a_fork_while_a_mapping_is_freed",
    ),
    Mutant(
        "a file is mapped over a patch",
        "_sigbus/heal.c",
        "done = range->count == 0 && map_file(",
        "done = map_file(",
        "faults/test_shrink.py::test_a_patch_outlives_the_growth_of_a_file_that_was_empty",
    ),
    Mutant(
        "a repeated signal is nobody's",
        "_sigbus/fault.c",
        "if (guard != NULL && !is_second && is_sent_by_itself(info))",
        "if (0)",
        "faults/test_signals.py::test_34_faulthandler_enabled_after_and_a_fault_at_once",
    ),
    Mutant(
        "a page nobody could be asked for is past the end",
        "_sigbus/patch.c",
        "carry(page, &byte, 1, 0) == 1 || errno != EFAULT",
        "carry(page, &byte, 1, 0) == 1",
        "faults/test_sandbox.py::test_a_bad_page_of_a_view_without_descriptor_is_one_page",
    ),
    Mutant(
        "there is no pipe where the kernel does not copy",
        "_sigbus/carry.c",
        "if (count >= 0 || errno == EFAULT)",
        "if (1)",
        "faults/test_sandbox.py::test_private_changes_are_read_where_the_thread_blocks_the_"
        "signal",
    ),
    Mutant(
        "a forked child appends where its parent does",
        "_mapping/forking.pxi",
        "renew_locks(<Mapping> next_one)\n",
        "pass\n",
        "mapping/test_forking.py::test_a_fork_renews_every_lock_whatever_one_mapping_does",
    ),
    Mutant(
        "private types are made by hand",
        "_mapping/pinning.pxi",
        "    c_type.tp_new = c_type.tp_vectorcall = NULL\n",
        "",
        "mapping/test_pinning.py::test_private_types_cannot_be_made",
    ),
    Mutant(
        "a mapping without a lock is used",
        "_core.pyx",
        "if not has_mutex(<void *> self):",
        "if False:",
        "core/test_hostile.py::test_no_memory_at_any_allocation",
    ),
    Mutant(
        "a view keeps the name that its file had",
        "_memory/region.pxi",
        "        self.watch.name = <void *> name\n",
        "",
        "file/test_mmap_file.py::test_errors_call_the_file_by_the_name_that_was_set",
    ),
    Mutant(
        "flushing a file that was cut tells nothing of views",
        "compat/_mmap.py",
        "            if self.faults():\n                raise",
        "            pass",
        "compat/test_compat.py::test_flushing_tells_of_what_a_view_loses_meanwhile",
    ),
    Mutant(
        "growth needs fallocate",
        "_extent/extent.pxi",
        "return EOPNOTSUPP if is_refused(code) else code",
        "return code",
        "faults/test_sandbox.py::test_a_call_that_is_refused_is_missed_by_what_says_so_alone[fallocate-EPERM]",
    ),
    Mutant(
        "a refused sync_file_range counts as lost data",
        "_linux/calls.pxd",
        "return sync_file(fd) if is_refused(code) else code",
        "return code",
        "faults/test_sandbox.py::test_a_call_that_is_refused_is_missed_by_what_says_so_alone[sync_file_range-EPERM]",
    ),
    Mutant(
        "a file does not run ahead, and nobody is told",
        "_mapping/running_ahead.pxi",
        "stay_exact(m, code if refused else 0)",
        "pass",
        "faults/test_sandbox.py::test_a_call_that_is_refused_is_missed_by_what_says_so_alone[fallocate-EPERM]",
    ),
    Mutant(
        "populate needs madvise",
        "_mapping/paging.pxi",
        "code == EFAULT or code == EINVAL or is_refused(code)",
        "code == EFAULT or code == EINVAL",
        "faults/test_sandbox.py::test_a_call_that_is_refused_is_missed_by_what_says_so_alone[madvise-EPERM]",
    ),
    Mutant(
        "a patch needs a memfd",
        "_sigbus/patch.c",
        "keep_original(page) : copy_aside(scratch)",
        "keep_original(page) : 0",
        f"{SANDBOX}[memfd_create-EPERM]",
    ),
    Mutant(
        "cachestat decides what may be told",
        "_file/pages.py",
        "return not _may_see_residency(Mapping.fileno(self))",
        "return True",
        f"{SANDBOX}[cachestat-EPERM]",
    ),
    Mutant(
        "a hidden file that is being written is swept",
        "_file/atomic.py",
        "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n            if os.path",
        "if os.path",
        "file/test_atomic.py::test_two_make_one_file_at_the_same_time",
    ),
    Mutant(
        "an interrupted making leaves its hidden file",
        "_file/atomic.py",
        "                            os.unlink(name)\n\n",
        "                            pass\n\n",
        "file/test_atomic.py::test_nothing_is_left_of_what_could_not_be_made",
    ),
    Mutant(
        "a new group gets the old one's rights",
        "_file/atomic.py",
        "if os.fstat(fd).st_gid != old.st_gid:",
        "if False:",
        "file/test_atomic.py::test_a_group_that_cannot_be_kept_lends_its_rights_to_no_other",
    ),
    Mutant(
        "a refused growth takes the blocks there are",
        "_extent/extent.pxi",
        "return ENOSPC if needed - behind > free_room(self.fd) else 0",
        "return 0",
        "faults/test_disk.py::test_17_a_refused_growth_takes_no_block",
    ),
    Mutant(
        "the error is asked for where others take it",
        "_extent/file_calls.pxi",
        "        cdef int other = sync_file(self.error_fd) if self.error_fd != -1 else 0",
        "        cdef int other = 0",
        "faults/test_disk.py::test_23_whoever_shares_the_descriptor_takes_the_error",
    ),
    Mutant(
        "a child shares the descriptor that tells errors",
        "_core.pyx",
        "        elif self.extent.error_fd != -1:    # that one is the parent's",
        "        elif False:",
        "faults/test_disk.py::test_23_the_parent_takes_nothing_from_its_child",
    ),
    Mutant(
        "what was copied up is not looked for",
        "_mapping/growing.pxi",
        "if changed != m.extent.changed:",
        "if False:",
        "faults/test_shrink.py::test_a_file_that_a_writer_has_copied_up",
    ),
    Mutant(
        "an empty file is mapped once and for all",
        "_memory/memory.pxi",
        "        if was_empty:\n",
        "        if False:\n",
        "faults/test_syscalls.py::test_a_file_has_a_size_before_it_is_mapped_for_writing",
    ),
    Mutant(
        "two mappings run one file ahead",
        "_extent/ahead.c",
        "code = set_lock(*lock, length);",
        "code = 0;",
        "extent/test_ahead.py::test_one_at_a_time",
    ),
    Mutant(
        "a trailer counts without the attribute",
        "_extent/ahead.c",
        "return memcmp(trailer->id, marker->id, sizeof marker->id) == 0\n           &&",
        "return",
        "extent/test_ahead.py::test_what_merely_looks_like_it_is_not_cut",
    ),
    Mutant(
        "what others have written behind the trailer is cut",
        "_extent/ahead.c",
        "if (status.st_size == marker->size)\n        code = cut",
        "if (1)\n        code = cut",
        "extent/test_ahead.py::test_what_others_have_written_behind_is_kept",
    ),
    Mutant(
        "a record is stored without its end",
        "_extent/ahead.c",
        "    __atomic_store_n(record->end_of_data",
        "    if (0) __atomic_store_n(record->end_of_data",
        "extent/test_ahead.py::test_killed_at_any_moment",
    ),
    Mutant(
        "a forked child trims the file",
        "_extent/extent.pxi",
        "self.marker.size = 0\n            set_ordered(&self._step, 0)\n"
        "            close(self.lock_fd)",
        "close(self.lock_fd)",
        "extent/test_ahead.py::test_a_forked_child_leaves_the_file_alone",
    ),
    Mutant(
        "no fault is ours",
        "_sigbus/fault.c",
        "if (guard != NULL && info->si_code > 0",
        "if (0 && guard != NULL && info->si_code > 0",
        "faults/test_shrink.py::test_01_read_past_a_shrunk_end",
    ),
    Mutant(
        "foreign faults are not chained",
        "_sigbus/fault.c",
        "        chain(signo, info, context, (uintptr_t)",
        "        (void)chain, (void)((uintptr_t)",
        "faults/test_signals.py::test_36_a_sent_signal_reaches_the_handler_that_was_there",
    ),
    Mutant(
        "the count of a fault is not exact",
        "_core.pyx",
        "done = done if end == -1 else clip(offset, done, end)",
        "pass",
        "faults/test_shrink.py::test_03_copy_across_the_end_counts_exactly",
    ),
    Mutant(
        "a fault in the caller's buffer is taken for one of ours",
        "_core.pyx",
        "if not covers(memory, left, fault):",
        "if False:",
        "faults/test_shrink.py::test_a_fault_in_the_callers_buffer",
    ),
    Mutant(
        "a fault changes the rounding mode",
        "_sigbus/fault.c",
        "restore_float_environment(context);",
        "(void)restore_float_environment;",
        "core/test_hostile.py::test_a_fault_leaves_the_rounding_mode",
    ),
    Mutant(
        "a slice is handed out though a truncation overtook it",
        "_mapping/sequence.pxi",
        "return transfer(m, buffer, start, count, False, 0) == count",
        "transfer(m, buffer, start, count, False, 0)\n    return True",
        "core/test_threads.py::test_a_truncation_of_ours_overtakes_copies",
    ),
    Mutant(
        "a slice with a step is not looked at again",
        "_mapping/sequence.pxi",
        "        if m.memory.must_retry(region, &s):\n            return False",
        "        if False:\n            return False",
        "core/test_threads.py::test_a_truncation_of_ours_overtakes_slices_with_a_step",
    ),
    Mutant(
        "a slice with a step is not guarded",
        "_mapping/sequence.pxi",
        "fault = call_on(region, copy_strided, &what, what.ranges, writing)",
        "copy_strided(&what)\n        fault = NULL",
        "faults/test_sequence.py::test_bus_error",
    ),
    Mutant(
        "a move goes forward over its own source",
        "_mapping/sequence.pxi",
        "cdef bint backwards = target > source",
        "cdef bint backwards = False",
        "mapping/test_sequence.py::test_long_moves",
    ),
    Mutant(
        "a kept view is of a region that the mapping has left",
        "_mapping/pinning.pxi",
        "if region is self.region and s.truncations",
        "if s.truncations",
        "mapping/test_pinning.py::test_it_is_of_the_region_that_the_mapping_is_in",
    ),
    Mutant(
        "a kept view holds up a cut",
        "_mapping/pinning.pxi",
        "self.kept = self.region = None",
        "pass",
        "arrays/test_handle.py::test_all_handles_of_a_mapping_let_it_be_cut",
    ),
    Mutant(
        "a kept view is used though the mapping has faults",
        "_mapping/pinning.pxi",
        "cdef Region region = self.memory.enter(&s)\n        with",
        "cdef Region region = self.region\n        s.truncations = self.truncations\n"
        "        with",
        "arrays/test_handle.py::test_a_fault_is_raised_by_the_next_index_until_it_is_healed",
    ),
    Mutant(
        "a region with uncounted holders is not kept",
        "_memory/generations.pxi",
        "region.has_uncounted_holders = region.has_uncounted_holders or uncounted",
        "region.has_uncounted_holders = False",
        "memory/test_region.py::test_28_an_unseen_holder_in_a_process_that_would_crash",
    ),
    Mutant(
        "closing does not wait for copies",
        "_memory/generations.pxi",
        "                self.older_regions.append(region)\n            self.region = None",
        "                munmap(region.base, region.span)\n            self.region = None",
        "core/test_threads.py::test_31_close_during_copies",
    ),
    Mutant(
        "closing a mapping forgets the path that a view may need",
        "_memory/generations.pxi",
        "needed = needed or region.may_tell_of_file()",
        "pass",
        "memory/test_naming.py::test_a_view_names_the_file_of_a_closed_mapping",
    ),
    Mutant(
        "the drop-in flushes nothing to the disk",
        "compat/_mmap.py",
        "self._flush_with(MS_SYNC, offset, size)",
        "self._flush_with(0, offset, size)",
        "faults/test_call_counts.py::test_no_other_system_calls_are_made",
    ),
    Mutant(
        "growth may move",
        "_memory/region.pxi",
        "span, 0) == MAP_FAILED",
        "span, 1) == MAP_FAILED",
        "memory/test_generations.py::test_30_growth_moves_no_view",
    ),
    Mutant(
        "the range check overflows",
        "_linux/numbers.pxi",
        "return size - offset if length > size - offset else length",
        "return size - offset if offset + length > size else length",
        "mapping/test_arguments.py::test_46_ranges_outside",
    ),
    Mutant(
        "copies keep the GIL",
        "_core.pyx",
        "with nogil:\n                copied = copy_far(memory",
        "if True:\n                copied = copy_far(memory",
        "core/test_threads.py::test_another_thread_runs_meanwhile[read_at]",
    ),
    Mutant(
        "zeros that came and went before a fault are taken for the file's",
        "_core.pyx",
        "if m.memory.must_retry(region, &s):\n            continue\n        done",
        "if fault == NULL and m.memory.must_retry(region, &s):\n            continue\n"
        "        done",
        "faults/test_shrink.py::"
        "test_08_zeros_that_come_and_go_while_a_copy_faults_are_not_read",
    ),
    Mutant(
        "our own truncations are not noticed by copies",
        "_memory/generations.pxi",
        "if s.truncations != self.truncations():",
        "if False:",
        "core/test_threads.py::test_a_truncation_of_ours_overtakes_copies",
    ),
    Mutant(
        "views do not stop a truncation",
        "_memory/generations.pxi",
        "exports = self.count_exports()",
        "exports = 0",
        "memory/test_generations.py::test_29_shrinking_under_a_view_is_refused",
    ),
    Mutant(
        "an unseen holder's tail is not replaced",
        "_memory/region.pxi",
        "if self.has_uncounted_holders and kept < self.zeros_from",
        "if False and kept < self.zeros_from",
        "memory/test_generations.py::test_29_shrinking_under_an_unseen_holder",
    ),
    Mutant(
        "growth does without blocks",
        "_extent/extent.pxi",
        "cdef int code = self.ensure_blocks(length, first, start + count)",
        "cdef int code = 0",
        "faults/test_disk.py::test_17_a_failed_growth_keeps_what_others_append_meanwhile",
    ),
    Mutant(
        "growing cuts off what others append",
        "_extent/extent.pxi",
        "cdef int code = self.have_blocks(0, end - 1, 1)",
        "cdef int code = self.cut(end)",
        "faults/test_disk.py::test_growth_keeps_what_others_append_meanwhile",
    ),
    Mutant(
        "a write that was overtaken is not done again",
        "_mapping/writing.pxi",
        "                and truncations == m.memory.truncations()):",
        "                or True):",
        "core/test_hostile.py::test_a_write_and_a_truncation_with_append_come_in_some_order",
    ),
    Mutant(
        "views are not counted while they are made",
        "_memory/generations.pxi",
        "atomic_fetch_add(&region.exports, 1)\n                region.has",
        "atomic_fetch_add(&region.exports, uncounted)\n                region.has",
        "memory/test_generations.py::test_a_finaliser_that_cuts_the_file_while_a_view_is_made",
    ),
    Mutant(
        "a record behind what others append is not published",
        "_mapping/growing.pxi",
        "        take_over_size(m)\n    except",
        "        pass\n    except",
        "mapping/test_growing.py::test_append_mode_finds_room_behind_what_others_append",
    ),
    Mutant(
        "the file is not asked for what others have appended",
        "_mapping/positions.pxi",
        "if size >= self.memory.length() - start:",
        "if False:",
        "mapping/test_positions.py::test_what_others_append_is_read",
    ),
    Mutant(
        "a cut file is not written anew",
        "_mapping/positions.pxi",
        "                if not self.catch_up():\n                    self.move_to",
        "                if True:\n                    self.move_to",
        "mapping/test_positions.py::test_a_write_extends_what_others_have_cut",
    ),
    Mutant(
        "a write that fails halfway does not move the position",
        "_mapping/positions.pxi",
        "self.move_to(start + error.count)",
        "pass",
        "faults/test_disk.py::test_the_position_follows_what_a_full_disk_has_taken",
    ),
    Mutant(
        "bytes that a seek skips are allocated",
        "_extent/extent.pxi",
        "first = length if filling else start",
        "first = length",
        "extent/test_extent.py::test_a_gap_is_a_hole",
    ),
    Mutant(
        "a search goes on whatever is to be interrupted",
        "_mapping/sequence.pxi",
        "            first = at + length - overlap\n        PyErr_CheckSignals()",
        "            first = at + length - overlap",
        "core/test_interrupts.py::test_a_search_of_a_huge_hole_can_be_interrupted",
    ),
    Mutant(
        "pieces that are searched do not overlap",
        "_mapping/sequence.pxi",
        "cdef int64_t overlap = max(needle.len - 1, 0)\n",
        "cdef int64_t overlap = 0\n",
        "memory/test_searching.py::test_a_needle_across_two_pieces_is_found",
    ),
    Mutant(
        "a descriptor that no mapping took is not closed",
        "_linux/calls.pyx",
        "    def __dealloc__(self):\n        self.finish()",
        "    def __dealloc__(self):\n        pass",
        "core/test_interrupts.py::test_no_descriptor_is_lost_in_opening",
    ),
    Mutant(
        "regions refer to the name where the collector does not look",
        "_memory/naming.pxi",
        "if kind in (str, bytes, int, PathOf) or hasattr(",
        "if name is not None or hasattr(",
        "core/test_interrupts.py::test_a_mapping_whose_name_refers_to_it_is_collected",
    ),
    Mutant(
        "an operation in hot pages does not wait for the turn of another",
        "_mapping/positions.pxi",
        "HAS_GIL and self._turn.takers == 0 and not",
        "HAS_GIL and not",
        "mapping/test_positions.py::test_who_keeps_the_gil_waits_for_who_has_the_turn",
    ),
    Mutant(
        "a small write into hot pages does not ask whether the file was cut",
        "_mapping/writing.pxi",
        "            and copy_in_force(region.at(last), &byte, 1, False) == NULL\n",
        "",
        "mapping/test_positions.py::test_a_hot_write_behind_a_cut_is_in_the_file",
    ),
    Mutant(
        "positions are not serialised",
        "_mapping/positions.pxi",
        "        made = threading.RLock()",
        "        made = threading.Semaphore(1000)",
        "mapping/test_positions.py::test_who_keeps_the_gil_waits_for_who_has_the_turn",
    ),
    Mutant(
        "the thread that touched a page is not told",
        "_sigbus/fault.c",
        "        raise_here();\n",
        "        (void)raise_here;\n",
        "faults/test_shrink.py::test_05_the_exception_tells_as_much_as_a_copys",
    ),
    Mutant(
        "poison is not looked at",
        "_memory/generations.pxi",
        "if region is None or s.patch_total != get_total(&self.patch_total_checked):",
        "if region is None:",
        "faults/test_shrink.py::test_05_a_guard_and_the_end_of_a_block",
    ),
    Mutant(
        "a fault that a method reported is raised again",
        "_memory/reports.pxi",
        "        raise_cancel()\n",
        "        pass\n",
        "faults/test_shrink.py::test_05_a_fault_that_was_reported_is_not_raised_again",
    ),
    Mutant(
        "a page on a full disk is replaced by zeros",
        "_sigbus/patch.c",
        "    if (put_into_store(page, page))\n        return keep_original(page);",
        "    if (page != NULL)\n        return 0;",
        "faults/test_disk.py::test_15_overwriting_through_a_view_of_a_full_btrfs",
    ),
    Mutant(
        "a tail is replaced page by page",
        "_sigbus/patch.c",
        "patch->length = (size_t)(end - start);",
        "patch->length = page_size; end = start + page_size;",
        "faults/test_shrink.py::test_10_a_long_tail_is_one_fault",
    ),
    Mutant(
        "no mapping is kept for a fault",
        "_sigbus/patch.c",
        "    take_spare_mappings();",
        "    (void)take_spare_mappings;",
        "faults/test_shrink.py::test_11_a_view_fault_among_too_many_maps",
    ),
    Mutant(
        "healing writes zeros over what others wrote",
        "_sigbus/heal.c",
        "return page[i] != original[i] && (",
        "return (",
        "faults/test_shrink.py::test_07_poison_stays_when_the_file_grows_again",
    ),
    Mutant(
        "a handler that came later stays",
        "_sigbus/fault.c",
        "    return take_signal(NULL) == 0;",
        "    return 0;",
        "faults/test_signals.py::test_34_37_a_later_handler_is_noticed",
    ),
    Mutant(
        "a handler that chains back is called for ever",
        "_sigbus/fault.c",
        "atomic_load(&was_displaced) && !again",
        "atomic_load(&was_displaced)",
        "faults/test_signals.py::test_34_the_later_handler_still_gets_what_is_not_ours",
    ),
    Mutant(
        "a child has nothing where a mapping is withheld",
        "_sigbus/patch.c",
        "        if (range->dontfork)\n            put",
        "        if (0)\n            put",
        "faults/test_signals.py::test_39_dontfork_reads_zeros_in_the_child",
    ),
    Mutant(
        "a failed sync is forgotten",
        "_extent/file_calls.pxi",
        "set_number(&self.sync_failure, code)",
        "pass",
        "faults/test_disk.py::test_21_a_failed_sync_stays_failed",
    ),
    Mutant(
        "rewriting believes the kernel",
        "_file/durability.py",
        "differs_on_disk(self, offset, count):",
        "False:",
        "faults/test_disk.py::test_21_what_rewriting_acknowledges_is_on_the_disk",
    ),
    Mutant(
        "the name of a new file is not synced",
        "_file/durability.py",
        "                sync_directory(directory)",
        "                pass",
        "faults/test_durability.py::test_44_a_directory_that_cannot_be_synced",
    ),
    Mutant(
        "evicting leaves what others wrote",
        "_extent/file_calls.pxi",
        "            if write:\n                code = write_back",
        "            if 0:\n                code = write_back",
        "file/test_pages.py::test_evict_what_another_descriptor_wrote",
    ),
    Mutant(
        "evicting throws changes away",
        "_memory/memory.pxi",
        "MADV_PAGEOUT if reclaims or self.is_private() else MADV_DONTNEED",
        "MADV_DONTNEED",
        "file/test_pages.py::test_evict_keeps_changes_of_a_private_mapping",
    ),
    Mutant(
        "all pages are resident where the kernel hides them",
        "_file/pages.py",
        "pages.all() and self._residency_is_hidden(start)",
        "False",
        "file/test_pages.py::test_resident_tells_when_the_kernel_hides_it",
    ),
    Mutant(
        "a page that cannot be populated is not looked for",
        "_mapping/paging.pxi",
        "if code == EFAULT or code == EINVAL or",
        "if code == EINVAL or",
        "file/test_pages.py::test_populate_a_file_that_was_cut",
    ),
    Mutant(
        "pages are populated by newer kernels only",
        "_mapping/paging.pxi",
        "if code == EFAULT or code == EINVAL or is_refused(code):",
        "if code == EFAULT:",
        "file/test_pages.py::test_populate_where_the_kernel_does_not_know_how",
    ),
    Mutant(
        "discarding goes by whole pages",
        "_mapping/paging.pxi",
        "    restore(m, start, min(first, start + count))\n",
        "",
        "file/test_pages.py::test_discard_to_the_byte",
    ),
    Mutant(
        "a record is not looked at again when it is copied",
        "_file/plan.pxi",
        "if <uint64_t> row >= rows:",
        "if False:",
        "file/test_plan.py::test_an_index_that_changes_after_the_check",
    ),
    Mutant(
        "a record outside is taken for a hot one",
        "_file/gather.pyx",
        "if offset == -1 or not self.pinned.is_hot(",
        "if offset != -1 and not self.pinned.is_hot(",
        "file/test_gather.py::test_a_record_outside_is_refused_among_hot_ones",
    ),
    Mutant(
        "a record is taken for a hot one as others are",
        "_file/gather.pyx",
        "(self.is_hot and spacing(&self.records) == 1)",
        "self.is_hot",
        "file/test_gather.py::test_a_record_outside_is_refused_among_hot_ones",
    ),
    Mutant(
        "our own truncations are not noticed by batches",
        "_file/gather.pyx",
        "if self.pinned.must_retry() if self.many is None else self.many.must_retry():",
        "if False:",
        "file/test_plan.py::test_gather_while_the_mapping_grows_and_shrinks",
    ),
    Mutant(
        "cold records are not asked for",
        "_file/cold_pages.pxi",
        "READAHEAD) * PAGE, MADV_WILLNEED)",
        "READAHEAD) * PAGE, MADV_RANDOM)",
        "file/test_cold_pages.py::test_cold_records_are_asked_for_before_they_are_copied",
    ),
    Mutant(
        "threads go on after Ctrl-C",
        "_file/threads.py",
        "            part.stop()\n",
        "            pass\n",
        "file/test_threads.py::test_ctrl_c_ends_all_threads",
    ),
    Mutant(
        "a stream keeps what is behind it",
        "_file/streaming.py",
        "    m._drop(start, end - start)",
        "    pass",
        "file/test_streaming.py::test_a_stream_leaves_little_in_memory_and_kept_chunks_whole",
    ),
    Mutant(
        "an array opens another file at its path",
        "_arrays/file_identity.py",
        "if found.inode != self.inode and not self._is_renumbered(found):",
        "if False:",
        "arrays/test_file_identity.py::test_another_file_is_noticed",
    ),
    Mutant(
        "an array opens a file that was cut",
        "_arrays/file_identity.py",
        "if found.size < self.size:",
        "if False:",
        "arrays/test_file_identity.py::test_a_file_that_became_shorter_is_noticed",
    ),
    Mutant(
        "a copy with other bytes is taken for the file",
        "_arrays/file_identity.py",
        "if read and read(m, self.size) != self.fingerprint:",
        "if False:",
        "arrays/test_file_identity.py::test_each_policy_knows_its_file",
    ),
    Mutant(
        "each array keeps a descriptor",
        "_arrays/descriptors.py",
        "first._drop_descriptor()",
        "pass",
        "arrays/test_descriptors.py::test_more_handles_than_descriptors",
    ),
    Mutant(
        "an array travels by a path that leads elsewhere",
        "_arrays/file_identity.py",
        "if file_of(m) == place.file:\n                return _source_of(m, name,",
        "if m:\n                return _source_of(m, name,",
        "arrays/test_file_identity.py::test_a_file_without_its_name_travels_by_its_descriptor",
    ),
    Mutant(
        "changes that cannot travel are forgotten",
        "_arrays/mapped_array.py",
        "if mode is None and place.private:",
        "if False:",
        "arrays/test_mapped_array.py::test_changes_that_cannot_travel",
    ),
    Mutant(
        "large pieces stay in memory",
        "_arrays/pieces.py",
        "return self._piece_mapped_apart(layout_of(piece, self.offset + place))",
        "return piece",
        "arrays/test_mapped_array.py::test_large_pieces_do_not_stay_in_memory",
    ),
    Mutant(
        "pieces that overlap are assigned byte by byte",
        "_arrays/pieces.py",
        "= self._comparable(value)",
        "= value",
        "arrays/test_mapped_array.py::test_pieces_that_overlap_are_assigned_as_in_memory",
    ),
    Mutant(
        "operands that overlap are read while they are written",
        "_arrays/elementwise.py",
        "array = target._comparable(array)",
        "pass",
        "arrays/test_elementwise.py::test_operands_of_the_same_file_may_overlap",
    ),
    Mutant(
        "a sum keeps all that it has read in memory",
        "_arrays/pieces.py",
        "self._drop_pages(extent)",
        "pass",
        "arrays/test_reductions.py::test_a_large_array_is_not_in_memory_at_once",
    ),
    Mutant(
        "threads append at the same place",
        "_arrays/mapped_array.py",
        "with m._turn:",
        "with contextlib.nullcontext():",
        "arrays/test_mapped_array.py::test_threads_append_one_after_the_other",
    ),
    Mutant(
        "a header promises rows before they are written",
        "_arrays/mapped_array.py",
        "            m.write_at(new, self._layout.extent.stop)\n            if header:",
        "            if header:",
        "arrays/test_mapped_array.py::test_a_process_killed_while_appending_leaves_the_old_array",
    ),
    Mutant(
        "a member of an archive reaches into the next",
        "_arrays/open_array.py",
        "start + member.file_size",
        "m.size()",
        "arrays/test_npy.py::test_a_member_does_not_reach_into_the_next",
    ),
    Mutant(
        "a file that was made later is taken for the one of the same inode before",
        "_arrays/file_identity.py",
        "if _differ(found.born, self.born):",
        "if False:",
        "arrays/test_file_identity.py::test_another_file_of_the_same_inode_is_noticed",
    ),
    Mutant(
        "a file of another tmpfs is taken for the one of the same inode",
        "_mapping/opening.pxi",
        "if system.f_type == TMPFS_MAGIC:",
        "if False:",
        "faults/test_file_identity.py::test_two_fresh_tmpfs_whose_first_files_have_one_inode",
    ),
    Mutant(
        "a file that overlayfs copied is taken for another",
        "_mapping/opening.pxi",
        "if system.f_type != OVERLAYFS_SUPER_MAGIC and syscall(",
        "if syscall(",
        "faults/test_file_identity.py::test_the_first_write_on_overlayfs_makes_no_handle_stale",
    ),
    Mutant(
        "a view that is gone names no file in its bus error",
        "_memory/region.pxi",
        "                remember_untold(self)\n",
        "                pass\n",
        "faults/test_shrink.py::test_05_a_view_that_is_gone_before_its_fault_is_told",
    ),
    Mutant(
        "a forked child gives back the lock of its parent",
        "_file/range_lock.py",
        "if os.getpid() == owner:",
        "if True:",
        "file/test_range_lock.py::test_a_forked_child_gives_nothing_back",
    ),
    Mutant(
        "a lock to the end keeps off those who append ahead",
        "_file/range_lock.py",
        "FIRST_BEYOND = (1 << 63) - 3",
        "FIRST_BEYOND = (1 << 63) - 1",
        "file/test_range_lock.py::test_it_keeps_off_what_holds_an_appender",
    ),
    Mutant(
        "all who use a mapping share one lock",
        "_file/range_lock.py",
        "return Descriptor(self._open_again, access)",
        "return Descriptor(os.dup, self.fileno())",
        "file/test_range_lock.py::test_a_block_inside_a_block_waits_for_itself_and_takes_nothing_away",
    ),
    Mutant(
        "a queue is the parent's in a forked child",
        "_file/gather.pyx",
        "return self.queue is not None and self.queue.process != getpid()",
        "return False",
        "file/test_queue.py::test_a_child_gathers_and_its_parent_goes_on",
    ),
    Mutant(
        "a queue is given back with requests under way",
        "_file/reading.pxi",
        "while code == 0 and r.under_way:",
        "while code and r.under_way:",
        "file/test_queue.py::test_nothing_is_written_into_a_buffer_that_was_let_go",
    ),
    Mutant(
        "a queue whose request is short is believed",
        "_file/reading.pxi",
        "elif result.bytes < place.length:",
        "elif result.bytes < 0:",
        "file/test_queue.py::test_a_file_that_was_cut_names_the_record",
    ),
    Mutant(
        "a queue whose request is short leaves old bytes of the arena",
        "_file/reading.pxi",
        "while source + length <= arena + count and put_bytes(",
        "while put_bytes(",
        "file/test_queue.py::test_a_file_that_was_cut_names_the_record",
    ),
    Mutant(
        "a queue stays for each batch that there was",
        "_file/queue.pxi",
        "and len(idle_queues[queue.kind]) < MOST_IDLE:",
        "and True:",
        "file/test_queue.py::test_few_queues_stay",
    ),
    Mutant(
        "the collector takes the files of a batch that is under way",
        "_file/channels.pxi",
        "@cython.no_gc_clear     # a batch that is collected counts its requests here\n",
        "",
        "file/test_queue.py::test_an_interpreter_exits_with_batches_under_way",
    ),
    Mutant(
        "no tracer stays of records that are read past the page cache",
        "_file/reading.pxi",
        "leave_tracer(channel.tracer_fd, offset, place.length)",
        "pass",
        "file/test_tracers.py::test_another_mapping_finds_that_records_were_read_before",
    ),
]


def install(source: Path, site: Path) -> None:
    """Build and install a tree; the build directory is kept, so only changes compile."""
    shutil.rmtree(site, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-build-isolation",
        "--no-deps",
    ]
    build = f"-Cbuild-dir={source / 'build'}"
    subprocess.run([*command, "--target", site, build, source], check=True)


def passes(test: str, site: Path, source: Path) -> bool:
    """Return whether a test passes with the package installed in `site`.

    One that hangs does not: some do so without their protection. There is no pipe, which a
    forked child that hangs would keep open.
    """
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    with contextlib.suppress(subprocess.TimeoutExpired):
        return not subprocess.run(
            [*command, source / "tests" / test],
            env=environment,
            cwd=source,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
        ).returncode
    return False


def survives(mutant: Mutant, source: Path, site: Path) -> bool:
    """Return whether the test passes although the protection is gone."""
    path = source / "yammap" / mutant.file
    text = path.read_text()
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        install(source, site)
        # What shows only when threads interleave may need another try.
        return all(passes(mutant.test, site, source) for _ in range(3))
    finally:
        path.write_text(text)


def main(*only: str) -> None:
    """Run all mutants, or those whose name has one of the words; 1 when one survives."""
    mutants = [m for m in MUTANTS if not only or any(word in m.what for word in only)]
    with tempfile.TemporaryDirectory() as folder:
        source, site = Path(folder, "source"), Path(folder, "site")
        shutil.copytree(
            ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv*", "build")
        )
        install(source, site)
        # Twice: a disk that is busy with something else may hold up one that syncs.
        survivors = [
            m.what
            for m in mutants
            if not any(passes(m.test, site, source) for _ in range(2))
        ]
        if survivors:
            sys.exit(f"these tests fail without any change: {survivors}")
        for mutant in mutants:
            alive = survives(mutant, source, site)
            print(f"{'SURVIVED' if alive else 'killed':9}{mutant.what}", flush=True)
            survivors += [mutant.what] * alive
    print(f"{len(mutants) - len(survivors)} passed, {len(survivors)} failed")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main(*sys.argv[1:])
