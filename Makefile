# `make demo` and `make test` set everything up themselves; see README.md.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help

# One target directory for everything; the fuzz targets, built with other flags, have a part of it.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
CARGO ?= cargo
FUZZ_SECONDS ?= 5
FUZZ_TARGETS := sip stream digest multipart sdp radius rtp relay control

# What was left out, shown at the end of `make test`.
SKIPPED := $(CARGO_TARGET_DIR)/skipped

# Commands that the tests, the lab and the benchmarks use, and the Debian packages they come from.
TOOLS := cc:gcc c++:g++ ip:iproute2 nft:nftables ethtool:ethtool tcpdump:tcpdump sipp:sip-tester \
    kamailio:kamailio rtpengine:rtpengine-daemon baresip:baresip-core linphonec:linphone-cli sipsak:sipsak \
    svwar:sipvicious freeradius:freeradius pg_ctlcluster:postgresql openssl:openssl python3:python3-venv clang:clang

# The Python of the lab's phones.
LAB_PYTHON ?= $(CARGO_TARGET_DIR)/lab-python/bin/python
export LAB_PYTHON

.PHONY: help demo test deps fmt clippy doc bpf bpf-check forwarders unit deny fuzz lab relay summary clean-summary

help:
	@echo "make demo   build Moorline and place 50 calls through it on loopback"
	echo "make test   everything that is checked: format, lints, docs, tests, fuzzing, and as root the lab"
	echo "make deps   install what the above need (as root), or say what is missing"
	echo "make fuzz   fuzz the parsers, FUZZ_SECONDS=$(FUZZ_SECONDS) each"
	echo "make bpf    compile the BPF programs, whose objects are checked in"

demo:
	@command -v cc > /dev/null || $(MAKE) --no-print-directory deps
	$(CARGO) build --release --locked --package moorline
	"$(CARGO_TARGET_DIR)/release/moorline" demo

test: clean-summary deps fmt clippy doc bpf-check forwarders unit deny fuzz lab relay summary

deps:
	@missing=()
	for tool in $(TOOLS); do
	    command -v "$${tool%%:*}" > /dev/null || missing+=("$${tool##*:}")
	done
	if [ $${#missing[@]} -eq 0 ]; then
	    true
	elif [ "$$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
	    echo "installing: $${missing[*]}"
	    # The packages' own services would take the ports of SIP: nothing is started, now or at boot.
	    policy=/usr/sbin/policy-rc.d
	    [ -e $$policy ] || { printf '#!/bin/sh\nexit 101\n' > $$policy; chmod +x $$policy; trap "rm -f $$policy" EXIT; }
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${missing[@]}"; } \
	        > /dev/null || echo "WARNING: these could not be installed: $${missing[*]}" >&2
	    for package in kamailio rtpengine-daemon freeradius postgresql; do
	        [[ " $${missing[*]} " != *" $$package "* ]] || ! command -v systemctl > /dev/null \
	            || systemctl --quiet disable $$package 2> /dev/null || true
	    done
	else
	    echo "WARNING: not installed, and not root to install them: $${missing[*]}" >&2
	    echo "         as root: apt-get install $${missing[*]}" >&2
	fi
	# The lab's phones, for who can run the lab.
	if [ "$$(id -u)" -eq 0 ] && ! "$(LAB_PYTHON)" -c "import pjsua2" 2> /dev/null; then
	    echo "installing: pjsua2-python"
	    { python3 -m venv "$(LAB_PYTHON:/bin/python=)" && "$(LAB_PYTHON)" -m pip install --quiet --disable-pip-version-check \
	        --only-binary :all: --requirement bench/lab/peers/requirements.txt; } \
	        || echo "WARNING: pjsua2-python could not be installed: the lab's tests with pjsua will fail" >&2
	fi
	# Without a linker there is nothing to go on with.
	command -v cc > /dev/null || { echo "no C compiler to link with: install gcc" >&2; exit 1; }

fmt:
	@$(CARGO) fmt --all --check

clippy:
	@$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings

doc:
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

# The objects of BPF programs are checked in, so that building Moorline needs no clang. Without debugging
# information the same clang makes the same bytes anywhere.
BPF_CLANG_VERSION := 14
BPF_FLAGS := -O2 -target bpf -Wall -Wextra -Werror
BPF_PROGRAMS := $(wildcard xdp/program/*.bpf.c)
# The forwarding program wants atomic operations that answer, and a kernel of 2022 for other reasons. A place on the stack
# that held a pointer may not hold half a word without CAP_PERFMON: none is used twice.
BPF_CPU = $$(case "$$program" in */forward.bpf.c) echo "-mcpu=v3 -mllvm -no-stack-slot-sharing" ;; *) echo -mcpu=v1 ;; esac)

bpf:
	@for program in $(BPF_PROGRAMS); do clang $(BPF_FLAGS) $(BPF_CPU) -c "$$program" -o "$${program%.c}.o"; done

bpf-check:
	@mkdir -p "$(dir $(SKIPPED))"
	version=$$({ clang -dumpversion || true; } 2> /dev/null)
	if [ "$${version%%.*}" != $(BPF_CLANG_VERSION) ]; then
	    echo "whether BPF objects are of their sources: they were made by clang $(BPF_CLANG_VERSION), here is $${version:-none}" >> $(SKIPPED)
	    exit 0
	fi
	for program in $(BPF_PROGRAMS); do
	    clang $(BPF_FLAGS) $(BPF_CPU) -c "$$program" -o "$(CARGO_TARGET_DIR)/compared.o"
	    cmp "$(CARGO_TARGET_DIR)/compared.o" "$${program%.c}.o" || { echo "$${program%.c}.o is not of its source: make bpf" >&2; exit 1; }
	done

# The bare forwarders that kernel alternatives are measured with: that they build, without a warning.
forwarders:
	@$(MAKE) --no-print-directory --silent -C bench/forwarders OUT="$(CARGO_TARGET_DIR)/forwarders"

# Tests that lack what they need say so in this file.
unit: export MOORLINE_SKIPPED = $(SKIPPED)
unit:
	@mkdir -p "$(dir $(SKIPPED))"
	if $(CARGO) nextest --version > /dev/null 2>&1; then
	    $(CARGO) nextest run --workspace --locked --no-fail-fast --status-level fail --final-status-level slow
	    $(CARGO) test --workspace --locked --quiet --doc
	else
	    $(CARGO) test --workspace --locked --quiet --no-fail-fast
	fi

deny:
	@if $(CARGO) deny --version > /dev/null 2>&1; then
	    # The advisory database is fetched from the network: left to those who have one.
	    $(CARGO) deny --all-features check --hide-inclusion-graph bans licenses sources
	else
	    mkdir -p "$(dir $(SKIPPED))"
	    echo "licences and sources of dependencies: cargo-deny is not installed (cargo install cargo-deny)" >> $(SKIPPED)
	fi

# libFuzzer on stable Rust: the compiler's own coverage pass, switched on by hand. `--target` keeps the flags
# away from build scripts, which would not link with them.
fuzz: export RUSTFLAGS = -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing
fuzz:
	@if ! command -v c++ > /dev/null; then
	    mkdir -p "$(dir $(SKIPPED))"
	    echo "fuzzing: no C++ compiler to build libFuzzer with (apt-get install g++)" >> $(SKIPPED)
	    exit 0
	fi
	host=$$(rustc -vV | sed -n 's/^host: //p')
	out="$(CARGO_TARGET_DIR)/fuzz"
	$(CARGO) build --package moorline-bench --features fuzz $(FUZZ_TARGETS:%=--bin fuzz-%) --locked --quiet --target "$$host" --target-dir "$$out"
	for name in $(FUZZ_TARGETS); do
	    seeds=()
	    [ $$name != sip ] && [ $$name != stream ] || seeds+=(signaling/sip/tests/corpora/{rfc4475,rfc5118,pjproject})
	    [ $$name != multipart ] || seeds+=(signaling/sip/tests/corpora/multipart)
	    [ $$name != digest ] || seeds+=(signaling/sip/tests/corpora/digest)
	    mkdir -p "$$out/corpus/$$name" "$$out/found"
	    echo "fuzzing $$name for $(FUZZ_SECONDS) s, seeds: $${seeds[*]:-none}"
	    if ! "$$out/$$host/debug/fuzz-$$name" -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=1024 -max_len=65535 \
	        -artifact_prefix="$$out/found/$$name-" "$$out/corpus/$$name" "$${seeds[@]}" > "$$out/$$name.log" 2>&1; then
	        tail -40 "$$out/$$name.log"
	        echo "FAULT in $$name: the input is in $$out/found; run $$out/$$host/debug/fuzz-$$name on it" >&2
	        exit 1
	    fi
	    grep -E "^Done" "$$out/$$name.log"
	done

# The lab runs several tests at once; LAB_PLACES=1 makes it run one after the other.
lab: export MOORLINE_SKIPPED = $(SKIPPED)
lab:
	@if [ "$$(id -u)" -ne 0 ]; then
	    mkdir -p "$(dir $(SKIPPED))"
	    echo "the lab (real SIPp calls between network namespaces): needs root" >> $(SKIPPED)
	elif ! command -v ip > /dev/null || ! command -v sipp > /dev/null; then
	    mkdir -p "$(dir $(SKIPPED))"
	    echo "the lab (real SIPp calls between network namespaces): ip or sipp is not installed (make deps)" >> $(SKIPPED)
	else
	    bench/lab/lab test
	fi

# The relay's benchmark in a few seconds: each system relays, and each packet that comes back is right. No times.
relay:
	@if [ "$$(id -u)" -ne 0 ] || ! command -v ethtool > /dev/null || ! command -v nft > /dev/null; then
	    mkdir -p "$(dir $(SKIPPED))"
	    echo "the relay's benchmark: needs root, ethtool and nftables" >> $(SKIPPED)
	else
	    $(CARGO) build --locked --quiet --package moorline --package moorline-bench --bin moorline --bin moorline-bench
	    "$(CARGO_TARGET_DIR)/debug/moorline-bench" relay --executable "$(CARGO_TARGET_DIR)/debug/moorline" \
	        --measure cpu --calls 50 --seconds 2 --rounds 1
	fi

clean-summary:
	@mkdir -p "$(dir $(SKIPPED))"
	rm -f "$(SKIPPED)"

summary:
	@if [ -s "$(SKIPPED)" ]; then
	    echo
	    echo "=================================================================="
	    echo "ALL THAT RAN HAS PASSED, BUT THIS WAS SKIPPED:"
	    sort -u "$(SKIPPED)" | sed 's/^/  - /'
	    echo "=================================================================="
	else
	    echo "all has passed, and nothing was skipped"
	fi
