# slb, the Steel Load Balancer. `make help` lists the targets.
#
# Everything that is built goes to build/; the program is left at ./slb. Source lists are taken from
# the folders, so that a new file needs no change here.

CLANG   ?= clang
BPFTOOL ?= bpftool
PYTHON  ?= /usr/bin/python3
# `make bench B=NAME` names what is measured; the build's folder stays.
BENCH_GROUP := $(if $(filter command line,$(origin B)),$(B))
override B  := build

# Short lines; V=1 shows the commands.
Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-9s %s\n' $(1) $@)

VERSION := $(shell cat user/VERSION 2>/dev/null)
GIT_ID  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

PACKAGES := libbpf libxdp libmicrohttpd jansson libuv libnl-3.0 libnl-route-3.0 libnl-genl-3.0 \
            libcurl sqlite3 uuid
# Deferred, so that `make help` works before anything is installed.
PKG_CFLAGS = $(shell pkg-config --cflags $(PACKAGES))
PKG_LIBS   = $(shell pkg-config --libs $(PACKAGES))

WARNINGS := -Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wno-format-truncation -Werror
CPPFLAGS = -D_GNU_SOURCE -DSLB_VERSION='"$(VERSION)"' -DSLB_GIT_ID='"$(GIT_ID)"' \
           -Iuser -I. -Ibpf -I$(B)
CFLAGS   ?= -O2 -g
HARDEN   := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDLIBS   = $(PKG_LIBS) -lm -lpthread

# --- eBPF programs: one object per *.bpf.c, embedded by its skeleton ------------------------------
BPF_SOURCES   := $(wildcard bpf/*.bpf.c)
BPF_HEADERS   := $(wildcard bpf/*.h)
BPF_OBJECTS   := $(BPF_SOURCES:bpf/%.bpf.c=$(B)/bpf/%.bpf.o)
BPF_SKELETONS := $(BPF_SOURCES:bpf/%.bpf.c=$(B)/bpf/%.skel.h)
# -mcpu=v2: jumps that every kernel from 5.10 on knows; nothing newer is needed.
BPF_CFLAGS := -target bpf -mcpu=v2 -O2 -g -Wall -Wextra -Werror -Ibpf \
              -I/usr/include/$(shell uname -m)-linux-gnu

# --- Userspace: everything but main.c is one library, which the tests link too --------------------
USER_SOURCES := $(filter-out user/main.c,$(wildcard user/*/*.c user/*/*/*.c api/*.c))
USER_OBJECTS := $(USER_SOURCES:%.c=$(B)/obj/%.o)
ASAN_OBJECTS := $(USER_SOURCES:%.c=$(B)/asan/%.o)
UNIT_SOURCES := $(wildcard tests/unit/*_test.c)
UNIT_HELPERS := $(filter-out $(UNIT_SOURCES),$(wildcard tests/unit/*.c))
# So that a test can make any allocation of slb's own fail (tests/unit/alloc_fault.h).
UNIT_WRAP    := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup
UNIT_TESTS   := $(UNIT_SOURCES:tests/unit/%.c=$(B)/tests/unit/%)

.PHONY: all help clean deps check demo build-tests test-unit test-bpf test-e2e test-vm format check-source
.DEFAULT_GOAL := all
# Skeletons and library objects are kept between runs.
.SECONDARY:

all: slb ## build ./slb (the default)

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 20

deps: ## install the packages slb is built with and tested by (Debian, root)
	vendor/install

slb: $(B)/obj/user/main.o $(B)/libslb.a
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) -pie -o $@ $^ $(LDLIBS)

# The same program with sanitizers, for tests that drive the whole of it.
$(B)/slb-asan: $(B)/asan/user/main.o $(B)/libslb-asan.a
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(LDLIBS)

# The same program with other eBPF programs (they count each packet twice), to upgrade to in tests.
OTHER         := $(B)/other
OTHER_SOURCES := $(shell grep -ls skel.h $(USER_SOURCES))
OTHER_OBJECTS := $(OTHER_SOURCES:%.c=$(OTHER)/%.o)
$(B)/slb-other: $(B)/obj/user/main.o $(OTHER_OBJECTS) $(B)/libslb.a
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) -pie -o $@ $^ $(LDLIBS)
$(OTHER)/src/copied: $(BPF_SOURCES) $(BPF_HEADERS)
	@mkdir -p $(@D) && cp $^ $(@D)
	$(Q)sed -i 's/packets_\(in\|out\) += packets;/packets_\1 += 2 * packets;/' $(@D)/forward.h
	@[ $$(grep -c '2 \* packets' $(@D)/forward.h) = 2 ] && touch $@
$(OTHER)/bpf/%.bpf.o: $(OTHER)/src/copied
	@mkdir -p $(@D)
	$(call say,CLANG)
	$(Q)$(CLANG) $(BPF_CFLAGS:-Ibpf=) -c -o $@ $(OTHER)/src/$*.bpf.c && llvm-strip -g $@
$(OTHER)/bpf/%.skel.h: $(OTHER)/bpf/%.bpf.o
	$(call say,SKELETON)
	$(Q)$(BPFTOOL) gen skeleton $< name slb_$*_bpf > $@.tmp && mv $@.tmp $@
$(OTHER)/%.o: %.c $(BPF_SOURCES:bpf/%.bpf.c=$(OTHER)/bpf/%.skel.h)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu17 -I$(OTHER) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(HARDEN) $(WARNINGS) -MMD -MP -c -o $@ $<

$(B)/libslb.a: $(USER_OBJECTS)
$(B)/libslb-asan.a: $(ASAN_OBJECTS)
$(B)/%.a:
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

$(B)/obj/%.o: %.c $(BPF_SKELETONS)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu17 $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(HARDEN) $(WARNINGS) -MMD -MP -c -o $@ $<

$(B)/asan/%.o: %.c $(BPF_SKELETONS)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu17 $(CPPFLAGS) $(PKG_CFLAGS) -O1 -g $(SANITIZE) $(WARNINGS) \
	    $(if $(filter tests/unit/%,$<),-Itests/unit) -MMD -MP -c -o $@ $<

$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(BPF_HEADERS)
	@mkdir -p $(@D)
	$(call say,CLANG)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@.tmp $<
	@llvm-strip -g $@.tmp && mv $@.tmp $@

$(B)/bpf/%.skel.h: $(B)/bpf/%.bpf.o
	$(call say,SKELETON)
	$(Q)$(BPFTOOL) gen skeleton $< name slb_$*_bpf > $@.tmp && mv $@.tmp $@

$(B)/tests/unit/%: $(B)/asan/tests/unit/%.o $(UNIT_HELPERS:%.c=$(B)/asan/%.o) $(B)/libslb-asan.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ $(UNIT_WRAP) $(LDLIBS) -lcmocka

# The API before a double of core: with sanitizers for the tests, without for measurements.
API_TEST_SOURCES := $(wildcard tests/api/*.c)
API_TESTS        := $(B)/tests/api/server-asan $(B)/tests/api/server $(B)/tests/fuzz/api_decode_fuzz
.PHONY: test-api
build-tests: $(API_TESTS)
test-api: $(API_TESTS) ## the REST API by curl and socket; T=name runs one test
	tests/run api $(if $(T),-k $(T))

$(B)/tests/api/server-asan: $(API_TEST_SOURCES) $(B)/libslb-asan.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu17 $(CPPFLAGS) $(PKG_CFLAGS) -O1 -g $(SANITIZE) $(WARNINGS) -Itests/api \
	    -o $@ $(filter %.c %.a,$^) $(LDLIBS)
$(B)/tests/api/server: $(API_TEST_SOURCES) $(B)/libslb.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu17 $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(WARNINGS) -Itests/api \
	    -o $@ $(filter %.c %.a,$^) $(LDLIBS)

# libFuzzer targets: what they test is compiled once more, with its instrumentation.
FUZZ_FLAGS := -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
$(B)/tests/fuzz/api_decode_fuzz: tests/fuzz/api_decode_fuzz.c api/decode.c api/json_object.c \
    user/core/model.c user/lib/addr.c user/lib/errbuf.c
	@mkdir -p $(@D)
	$(call say,CLANG)
	$(Q)$(CLANG) -std=gnu17 $(CPPFLAGS) $(PKG_CFLAGS) $(FUZZ_FLAGS) -o $@ $^ $(PKG_LIBS)

# The BGP speaker with a driver in place of core and API, and its fuzz targets.
BGP_TESTS := $(B)/tests/bgp/bgp_driver $(B)/tests/fuzz/bgp_message_fuzz $(B)/tests/fuzz/bgp_config_fuzz
.PHONY: test-bgp
build-tests: $(BGP_TESTS)
test-bgp: $(BGP_TESTS) ## BGP against BIRD, FRR, GoBGP, ExaBGP and plain bytes (root); T=name
	tests/run bgp $(if $(T),-k $(T))

$(B)/tests/bgp/bgp_driver: $(B)/asan/tests/bgp/bgp_driver.o $(B)/libslb-asan.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ $(LDLIBS)

BGP_FUZZED := $(addprefix user/advertise/bgp/bgp_,message.c open.c update_build.c update_parse.c config.c)
$(B)/tests/fuzz/bgp_%_fuzz: tests/fuzz/bgp_%_fuzz.c $(BGP_FUZZED) user/lib/addr.c user/lib/errbuf.c
	@mkdir -p $(@D)
	$(call say,CLANG)
	$(Q)$(CLANG) -std=gnu17 $(CPPFLAGS) $(FUZZ_FLAGS) -o $@ $^

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# --- Tests: T= names one test --------------------------------------------------------------------
test-unit: $(UNIT_TESTS) ## unit tests with sanitizers; T=name runs one program
	tests/run unit $(if $(T),-k $(T))

test-bpf: $(BPF_OBJECTS) slb ## packets through the eBPF programs (root); T=name
	tests/run bpf $(if $(T),-k $(T))

test-e2e: slb $(B)/slb-asan $(B)/slb-other ## whole program in namespaces (root); T=name
	tests/run e2e $(if $(T),-k $(T))

SEED ?=
MINUTES ?= 10
.PHONY: soak
soak: slb $(B)/slb-asan $(B)/slb-other ## random events under load for MINUTES=10 (root); SEED=n repeats a run
	tests/e2e/chaos/walk --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

test-vm: slb ## on other kernels under qemu (root); K=kernel T=name
	tests/run vm $(if $(K),-K $(K)) $(if $(T),-k $(T))

build-tests: slb $(B)/slb-asan $(B)/slb-other $(BPF_OBJECTS) $(UNIT_TESTS) ## build the program and all tests

check: ## install, build and run every test; ends with "N passed, N failed[, N skipped]" (root)
	tests/check

# What slb is measured with; see tools/bench/README.md.
BENCH := $(patsubst tools/bench/%.bpf.c,$(B)/bench/%.bpf.o,$(wildcard tools/bench/*.bpf.c)) $(B)/bench/traffic
.PHONY: bench
bench: slb $(BPF_OBJECTS) $(BENCH) ## measure slb (root, 15 minutes); B=established runs one group
	vendor/install lab test bench
	tools/bench/run $(BENCH_GROUP)
$(B)/bench/%.bpf.o: tools/bench/%.bpf.c
	@mkdir -p $(@D)
	$(call say,CLANG)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@.tmp $<
	@llvm-strip -g $@.tmp && mv $@.tmp $@
$(B)/bench/traffic: tools/bench/traffic.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu17 $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -o $@ $<

demo: ## show slb balancing connections in a lab of namespaces (root)
	tools/demo

format: ## rewrite the C sources in the house layout
	clang-format -i $$(git ls-files '*.c' '*.h')

check-source: ## layout, dependency direction, banned calls
	tools/check-source

clean: ## remove build/ and ./slb
	rm -rf $(B) slb
