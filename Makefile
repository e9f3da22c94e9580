# The targets are one or two lines each; tools/ does the work.
STACK ?= local
NODES ?= kwok
PYTHON ?= python3
export PYTHON
# A process that may not keep what Python compiles takes 12 seconds longer to import TensorFlow, each time.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r n t; do printf '%-18s %s\n' "$$n" "$$t"; done

up: runtime $(if $(filter-out local,$(STACK)),policies-ready)  ## raw data to a served model; STACK=local by default; others are judged by the policy pack
	@.venv/bin/python tools/stack.py up $(STACK)

down: runtime  ## end and remove all that `make up` made, but for what the stack's `keep` names
	@.venv/bin/python tools/stack.py down $(STACK)

images: runtime  ## build the two images of a Google Cloud STACK, push them, write their digests into its file
	@.venv/bin/python tools/images.py $(STACK)

plan: runtime policies-ready  ## what `up` would do and cost, judged by the policy pack; STACK=local by default
	@.venv/bin/python tools/plan.py $(STACK) $(if $(COMMENT),--comment $(COMMENT))

drift: runtime  ## whether what is deployed is still what was deployed
	@.venv/bin/python tools/drift.py $(STACK) $(if $(ISSUE),--issue $(ISSUE))

env: runtime  ## the exports with which `pulumi up -s local` works by hand: eval "$$(make -s env)"
	@.venv/bin/python tools/stack.py env $(STACK)

test: test-tools  ## lint, types and all tests
	@.venv/bin/python tools/checks.py

test-pods: test-tools  ## of these the pipeline on real pods alone
	@.venv/bin/python tools/checks.py pods

test-browser:  ## the console page in a real browser, light and dark; needs chromium
	@tools/python tools/environments.py test
	@serving/.venv/bin/python -m pytest -q tests/browser

cluster-up: cluster-tools  ## a Kubernetes cluster for tests on loopback; NODES=kwok: made up, NODES=kubelet: real pods
	@PYTHONPATH=tools .venv/bin/python -m cluster up $(NODES)

cluster-down: cluster-tools  ## end it; nothing of it stays
	@PYTHONPATH=tools .venv/bin/python -m cluster down

test-cluster: test-tools  ## the modules on such a cluster
	@.venv/bin/python -m pytest -q tests/cluster --ignore tests/cluster/costly

test-cluster-all: test-tools  ## and on real pods, with all the faults, KEDA, Kueue and Knative: half an hour
	@.venv/bin/python -m pytest -q tests/cluster
	@.venv/bin/python -m pytest -q tests/pods
	@PENSTOCK_IMAGES=built .venv/bin/python -m pytest -q tests/pods/test_pipeline.py

notebook:  ## notebooks/ in JupyterLab on the loopback address, with a token
	@tools/python tools/environments.py lab
	@.tools/lab/bin/python -m jupyterlab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=notebooks

pages:  ## docs/ as a site, in .site/
	@tools/python tools/environments.py test
	@.tools/site/bin/python -m mkdocs build --strict --quiet -f tools/site/mkdocs.yml

audit:  ## known vulnerabilities in the locks, and a bill of materials of each in .sbom/
	@tools/python tools/environments.py audit
	@.tools/audit/bin/python tools/audit

lock:  ## resolve the dependencies of all environments anew
	@tools/python tools/environments.py lock

bench:  ## all benchmarks, one after the other
	@tools/python tools/environments.py test
	@for script in benchmarks/[a-z]*.py; do case $$script in */cluster.py|*/preview.py) venv=.venv ;; *) venv=trainer/.venv ;; esac; $$venv/bin/python "$$script" || exit 1; done

bench-cluster: cluster-tools
	@.venv/bin/python benchmarks/cluster.py

bench-preview: test-tools
	@.venv/bin/python benchmarks/preview.py

bench-%:
	@tools/python tools/environments.py test
	@trainer/.venv/bin/python benchmarks/$(subst -,_,$*).py

cluster-tools:
	@tools/python tools/environments.py test

test-tools: cluster-tools
	@.venv/bin/python tools/pulumi_cli.py

policies-ready:
	@tools/python tools/environments.py policies

runtime:
	@tools/python tools/environments.py runtime

.PHONY: help up down images plan drift env test test-pods test-browser cluster-up cluster-down test-cluster test-cluster-all notebook pages audit lock bench cluster-tools test-tools policies-ready runtime
