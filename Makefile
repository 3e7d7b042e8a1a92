# `make run` shows it, `make test` proves it. CONTRIBUTING.md says more.

.PHONY: run serve setup setup-dev test coverage lint lock release-check bench
.PHONY: documents clients generated-clients
.PHONY: test-faults test-fuzz test-load test-rights

python := .venv/bin/python
# They wait a lot for servers and browsers: five keep two cores busy. In our order of the
# files.
parallel := -n 5 --dist loadfile --no-loadscope-reorder
# Node.js comes from the environment where the machine has none.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# The suite starts the server a hundred times: it is compiled once.
unexport PYTHONDONTWRITEBYTECODE

run: setup
	@$(python) manage.py demo

serve: setup var/static/.stamp
	@$(python) manage.py migrate --verbosity 0
	@exec $(python) manage.py serve

# Compressing them takes longer than a start may.
var/static/.stamp: $(wildcard static static/* static/*/* static/*/*/*) \
		package-lock.json requirements.lock | setup
	@$(python) manage.py collectstatic --no-input --verbosity 0
	@touch $@

setup:
	@.ci/setup

# One test: make test args='tests/project/test_checks.py -k workers'
# On PostgreSQL instead of SQLite: make test database=postgresql
test:
	@.ci/setup test
	$(if $(args),,node --test tests/js/*.js)
	$(python) -m $(if $(filter postgresql,$(database)),tests.on_postgresql,pytest) \
		$(or $(args),$(parallel))

# What the suite does in short, in its long form: figures in docs/ come from these.
# `make -k` goes on after one that fails.
test-faults: $(addprefix long-,kill9 outage cuts restart mqtt mats \
	browser_phone trust_revocation)
test-load: $(addprefix long-,sustained overload slow churn seed2015)
test-fuzz: $(addprefix long-,hostile trust_fuzz timing_fuzz api_fuzz)
	$(python) -m pytest --hypothesis-profile=long tests/intake/test_fuzz.py

test-rights:
	@.ci/setup test
	RIGHTS=all $(python) -m pytest tests/trust/test_matrix.py

# One of them: make long-kill9 args='--only postgres'
long-%:
	@.ci/setup test
	$(python) -m tests.faults.$* --long $(args)

# Which branches of runners/ the suite goes through, in the servers that it starts too;
# fails under what pyproject.toml says.
coverage:
	@.ci/setup test
	$(python) -m coverage erase
	$(python) -m coverage run -m pytest $(parallel)
	$(python) -m coverage combine --quiet
	$(python) -m coverage report

# Everything from a clean clone of what is committed.
release-check:
	@.ci/release

# All packages of clients/ against the scripted server and a real one; prints the table.
# `make test` does the same without the one that has to be compiled: it needs a JDK.
clients:
	@.ci/setup test
	clients/kotlin/compile
	$(python) -m clients.conformance
	$(python) -m tests.api.package_conversation

# Clients that generators make of the HTTP documents, with a server. It needs npm, curl and,
# as `make clients`, a JDK and Maven.
generated-clients:
	@.ci/setup dev
	$(python) -m tests.api.generated_clients

lint:
	@.ci/setup dev
	ruff check .
	ruff format --check .
	.ci/commits
	DEBUG=1 mypy
	lint-imports
	find templates -name '*.html' -exec djade --check --target-version 5.2 {} +
	node_modules/.bin/tsc

# The parts of docs/ that are made from the messages' structs.
documents: setup-dev
	$(python) -m tests.api.generate

# The hashes of all Python packages, after a change of a requirements file.
lock: setup-dev
	@.ci/lock

bench: bench/node_modules/.package-lock.json
	$(python) -m bench $(args)

bench/node_modules/.package-lock.json: bench/package-lock.json | setup-dev
	@cd bench && npm ci --ignore-scripts --no-progress --loglevel=error
	@touch $@

setup-dev:
	@.ci/setup dev
