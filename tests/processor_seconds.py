"""Which tests are long: a pytest plugin that measures the processor time of each, of its child processes too, and
adds those of LONG seconds or more to `long.txt`. Unlike the time on the clock it does not depend on what else the
machine does; the first tests of a file compile what the others find compiled.

    make durations      measures the tests that are not long yet
"""

import pathlib
import resource

import pytest

LONG = 2.5
LIST = pathlib.Path(__file__).parent / "long.txt"
NAME = "processor_seconds"

spent = {}


def processor_seconds():
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    begin = processor_seconds()
    try:
        return (yield)
    finally:
        item.user_properties.append((NAME, processor_seconds() - begin))


def pytest_runtest_logreport(report):
    # in the process that collects what the workers report
    if report.when == "call":
        spent[report.nodeid] = dict(report.user_properties)[NAME]


def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        found = {name for name, seconds in spent.items() if seconds >= LONG}
        before = {name for name in LIST.read_text(encoding="utf-8").splitlines() if name not in spent}
        LIST.write_text("".join(f"{name}\n" for name in sorted(before | found)), encoding="utf-8")
        print(f"\n{len(found)} of {len(spent)} tests are long; all took {sum(spent.values()):.0f} s of processors")
