"""A fuzzer of the Autobahn test suite. It runs on the suite's own Python 2.7; `suite.py` starts it.

Without arguments it prints the suite's versions and cases. With the path of a task (in JSON, see
`Task`) it runs the cases named there: as a client of "url" or, when that is null, as a server, which
prints the port it listens on.
"""

# ruff: noqa: D101, D103, PTH123, UP031
# mypy: ignore-errors

import json
import platform
import sys

import pkg_resources
from autobahntestsuite import case, fuzzing
from twisted.internet import reactor, ssl

PACKAGES = ("autobahntestsuite", "autobahn", "Twisted", "wsaccel")


def describe():
    versions = {name: pkg_resources.get_distribution(name).version for name in PACKAGES}
    versions["Python"] = platform.python_version()
    start = len(case.CaseBasename)
    cases = [one.__name__[start:].replace("_", ".") for one in case.Cases]
    sys.stdout.write(json.dumps({"versions": versions, "cases": cases}))


class Server(fuzzing.FuzzingServerFactory):
    def createReports(self):  # noqa: N802
        fuzzing.FuzzingServerFactory.createReports(self, produceHtml=False)


class Client(fuzzing.FuzzingClientFactory):
    def createReports(self):  # noqa: N802
        fuzzing.FuzzingClientFactory.createReports(self, produceHtml=False)


def run(task):
    for one in case.Case12_X_X + case.Case13_X_X:
        one.COUNT = task["messages"]
    spec = {"cases": task["cases"], "outdir": task["output"], "url": None}
    if task["url"] is not None:
        spec["servers"] = [{"url": task["url"], "agent": task["agent"]}]
        Client(spec)  # connects by itself, and stops the reactor at the end
    else:
        server = Server(spec)
        if task["certificate"] is None:
            port = reactor.listenTCP(0, server, interface="127.0.0.1")
        else:
            context = ssl.DefaultOpenSSLContextFactory(task["key"], task["certificate"])
            port = reactor.listenSSL(0, server, context, interface="127.0.0.1")
        sys.stdout.write("port %d\n" % port.getHost().port)
        sys.stdout.flush()
    reactor.run()


if len(sys.argv) > 1:
    with open(sys.argv[1]) as file:
        run(json.load(file))
else:
    describe()
