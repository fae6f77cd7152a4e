"""Which limit of the process an errno value stands for."""

import pytest


@pytest.mark.no_sanitizer
def test_the_limit_of_locked_memory_is_named(child):
    child("""
        import os, resource, yammap
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 16, 1 << 16))
        m = yammap.anonymous(1 << 20)
        if os.geteuid() == 0:  # root may lock what it wants
            os.setuid(65534)
        try:
            m.lock()
        except OSError as error:
            assert "RLIMIT_MEMLOCK allows 65536 locked bytes" in str(error), error
        else:
            raise AssertionError
    """)
