"""Which tests are long, and which take longest: a pytest plugin that measures the processor time of each, of its
fixtures and child processes too, and lists those of LONG seconds or more in `long.txt`. Unlike the time on the clock it
does not depend on what else the machine does; the first tests of a file compile, or compute, what the others find done.

    make durations                                  measures the tests that are not long yet
    make durations PYTEST_ARGS="-n 2 -m ''"         all
"""

import pathlib
import resource

import pytest

LONG, LONGEST = 2.5, 8.0
LIST = pathlib.Path(__file__).parent / "long.txt"
NAME = "processor_seconds"

spent = {}


def listed():
    """Seconds by test, of the long ones."""
    lines = (line.strip().partition(" ") for line in LIST.read_text(encoding="utf-8").splitlines())
    return {name: float(seconds) for seconds, _, name in lines}


def processor_seconds():
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from measured(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from measured(item))


def measured(item):
    begin = processor_seconds()
    try:
        return (yield)
    finally:
        item.user_properties.append((NAME, processor_seconds() - begin))


def pytest_runtest_logreport(report):
    # in the process that collects what the workers report
    if report.when == "call":
        spent[report.nodeid] = sum(seconds for name, seconds in report.user_properties if name == NAME)


def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        write({name: seconds for name, seconds in listed().items() if name not in spent} | spent)
        print(f"\n{len(spent)} tests took {sum(spent.values()):.0f} s of processors")


def write(seconds):
    """The list: those of LONG or more by name, as "12.3 tests/test_x.py::test_y"."""
    long = sorted((name, each) for name, each in seconds.items() if each >= LONG)
    LIST.write_text("".join(f"{each:5.1f} {name}\n" for name, each in long), encoding="utf-8")
