# `make help` lists the targets.

CXX ?= g++
comma := ,
space := $(subst ,, )
BUILD ?= build
PLAIN := $(BUILD)
# SANITIZE=1 builds the engine with the address and undefined-behaviour sanitizers, in a folder of its own. The address
# sanitizer finds what null, vptr and object-size would; they take as long to compile as all the others. So does
# alignment, which SANITIZE=full adds.
ifdef SANITIZE
BUILD := $(PLAIN)/sanitize
OPTIMISE := -O1 -g1 -fsanitize=address,undefined \
  -fno-sanitize=null,vptr,object-size$(if $(filter full,$(SANITIZE)),,$(comma)alignment) -fno-sanitize-recover=all \
  -fno-omit-frame-pointer
else
# Kernels have -O3, what goes through every byte of a text -O2, and what makes a task's data -O1. The rest computes little:
# -Og compiles quickest, for it leaves out even what nothing calls.
OPTIMISE := -Og
endif
COMPILER := $(if $(shell command -v ccache 2>/dev/null),ccache) $(CXX)
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Werror -Wno-psabi -Wno-missing-field-initializers
# The dependencies that the compiler finds name their object below $(PLAIN) by these very characters, which make reads
# later: so ccache's results serve every build folder.
DEPENDENCIES = -MMD -MP -MF $(@:.o=.d) -MT '$$(PLAIN)$(@:$(PLAIN)%=%)'
# Products and sums may be fused, but are never reordered behind our back: results do not depend on the compiler's mood.
FLAGS = -std=c++20 $(OPTIMISE) $(WARNINGS) -fno-math-errno -fno-trapping-math -I. \
  $(DEPENDENCIES) $(MEMORY)
# GCC looks for memory that it can use again once a source holds this many KiB: a group takes less.
MEMORY := $(if $(findstring clang,$(CXX)),,--param ggc-min-heapsize=800000)
# SELF_CONTAINED=1 links everything but the C library into the programs. Of that, parts which nothing calls would need a
# newer one, so they are left out.
SELF_CONTAINED ?= 0
LIBRARIES := $(if $(filter 1,$(SELF_CONTAINED)),-static-libstdc++ -static-libgcc -Wl$(comma)--gc-sections -l:libutf8proc.a -l:libcsv.a,-lutf8proc -lcsv)
# With MPI several ranks can train together. MPI=0 leaves it out.
MPICC := $(shell command -v mpicc 2>/dev/null)
MPI ?= $(if $(MPICC),1,0)
ifeq ($(MPI),1)
MPI_LIBRARIES := $(shell $(MPICC) --showme:link)
LIBRARIES += $(MPI_LIBRARIES)
$(BUILD)/core/mpi_communicator.o: FLAGS += -DENGINE_MPI $(patsubst -I%,-isystem %,$(shell $(MPICC) --showme:compile))
endif
# Compiled anew where MPI has come or gone.
$(BUILD)/core/mpi_communicator.o: $(BUILD)/with-mpi-$(MPI)
$(BUILD)/with-mpi-$(MPI):
	@mkdir -p $(@D) && rm -f $(BUILD)/with-mpi-* && touch $@

# Every file of kernels/*/cpu is compiled once an instruction set; the program picks one when it starts. Link order matters:
# of an inline function that several objects hold the linker keeps the first, so the least demanding come first.
ISAS := generic avx2 avx512
ifneq ($(shell uname -m),x86_64)
ISAS := generic
endif
# Of these sources, compiled for vectors of several widths, only this processor's best are sanitized: with them programs
# run, and the others are there as they always are.
BEST_ISA := $(firstword $(foreach isa,avx512 avx2,$(shell grep -om1 $(isa) /proc/cpuinfo)) generic)
BEST_UNIT := $(patsubst amx_bf16,amx,$(firstword $(foreach flag,amx_bf16 avx512_bf16,$(shell grep -om1 $(flag) /proc/cpuinfo))))
# The folder of objects for an instruction set.
isa_folder = $(if $(filter $(BEST_ISA) $(BEST_UNIT),$(1)),$(BUILD),$(PLAIN))/$(1)
FLAGS_generic :=
FLAGS_avx2 := -march=x86-64-v3
FLAGS_avx512 := -march=x86-64-v4 -mprefer-vector-width=512
# The files *_bf16.cc are compiled for what a processor has for products of bf16.
BF16_UNITS := $(if $(filter avx512,$(ISAS)),avx512_bf16 amx)
FLAGS_avx512_bf16 := $(FLAGS_avx512) -mavx512bf16
FLAGS_amx := $(FLAGS_avx512_bf16) -mamx-tile -mamx-bf16

# Up to eight sources of a folder are compiled as one, for most of the time goes into the headers that they share: names
# that are local to a file differ within a folder. GROUP=1 compiles each alone, and shows #includes that are missing.
# $(call grouped,sources) writes the files that include them, named after their first, and gives their names.
GROUP := 8
GROUPS := $(PLAIN)/groups
vpath groups/%.cc $(PLAIN)
vpath groups/%.cu $(PLAIN)
define newline


endef
first_of = $(wordlist 1,$(GROUP),$(1))
group_of_folder = $(if $(1),$(call write_group,$(call first_of,$(1))) $(call group_of_folder,$(filter-out $(call first_of,$(1)),$(1))))
write_group = $(call write_where_changed,$(GROUPS)/$(firstword $(1)),$(foreach source,$(1),#include "$(source)"$(newline)))
write_where_changed = $(if $(call same,$(if $(wildcard $(1)),$(file <$(1))),$(2)),,$(shell mkdir -p $(dir $(1)))$(file >$(1),$(2)))$(1)
same = $(and $(findstring $(strip $(1)),$(strip $(2))),$(findstring $(strip $(2)),$(strip $(1))))
grouped = $(foreach folder,$(sort $(dir $(1))),$(call group_of_folder,$(foreach source,$(1),$(if $(filter $(folder),$(dir $(source))),$(source)))))

PARTS := core kernels text models training tasks report commands
# Host code of the CUDA backend (*.cc in folders named cuda) and its kernels (*.cu there).
CUDA_HOST := $(wildcard core/cuda/*.cc kernels/cuda/*.cc kernels/*/cuda/*.cc)
CUDA_KERNELS := $(wildcard kernels/*/cuda/*.cu)
SOURCES := $(filter-out kernels/cpu/% kernels/cuda/%,$(wildcard $(addsuffix /*.cc,$(PARTS)) kernels/*/*.cc tasks/*/*.cc))
CPU_SOURCES := $(filter-out %_bf16.cc,$(wildcard kernels/cpu/*.cc kernels/*/cpu/*.cc))
BF16_SOURCES := $(call grouped,$(wildcard kernels/cpu/*_bf16.cc kernels/*/cpu/*_bf16.cc))
# These have flags or prerequisites of their own, or are linked without the rest, or take longest to compile.
ALONE := core/mpi_communicator.cc core/toml.cc kernels/backend/backend.cc report/page_files.cc \
  kernels/attention/cuda/cudnn_graph.cc core/cuda/library.cc $(addprefix kernels/attention/cuda/,backward.cu f32.cu forward.cu)
units = $(filter $(ALONE),$(1)) $(call grouped,$(filter-out $(ALONE),$(1)))
objects = $(addprefix $(1)/,$(addsuffix .o,$(basename $(patsubst $(PLAIN)/%,%,$(2)))))
HOST_OBJECTS := $(call objects,$(BUILD),$(call units,$(SOURCES)))
CPU_GROUPS := $(call grouped,$(CPU_SOURCES))
ISA_OBJECTS := $(foreach isa,$(ISAS),$(call objects,$(call isa_folder,$(isa)),$(CPU_GROUPS))) \
  $(foreach unit,$(BF16_UNITS),$(call objects,$(call isa_folder,$(unit)),$(BF16_SOURCES)))
OBJECTS = $(HOST_OBJECTS) $(ISA_OBJECTS)
TESTS := $(wildcard tests/*.cc) $(filter-out tests/fuzz/fuzzer.cc,$(wildcard tests/fuzz/*.cc))
# Tests themselves are not sanitized: what they call is, and the memory that they hand to it.
# Tests are many: what counts is how long they take to compile, but for those that compute references.
SLOW_TESTS := $(shell grep -lE '_ref\.h|attention_problem\.h' $(TESTS))
SLOW_TEST_OBJECTS := $(call objects,$(PLAIN),$(call grouped,$(SLOW_TESTS)))
QUICK_TEST_OBJECTS := $(call objects,$(PLAIN),$(call grouped,$(filter-out $(SLOW_TESTS) tests/main.cc,$(TESTS))) tests/main.cc)
TEST_OBJECTS := $(SLOW_TEST_OBJECTS) $(QUICK_TEST_OBJECTS)

CUDNN_FRONTEND_VERSION := 1.32.0
CUDNN_FRONTEND := build/third_party/cudnn_frontend-$(CUDNN_FRONTEND_VERSION)
# With the CUDA toolkit the program has both backends: PTX of compute_80, which no kernel asks more of, and code made from
# it for each of CUDA_ARCHS. By default these are the GPUs that are here, else the least that the program runs on, for
# each takes a third of the time to compile. Packages and checks of all kernels set CUDA_ARCHS="80 90 100".
NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
ifneq ($(NVCC),)
ifeq ($(origin CUDA_ARCHS),undefined)
CUDA_ARCHS := $(filter $(patsubst sm_%,%,$(shell $(NVCC) --list-gpu-code)),\
  $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d . | sort -un | awk '$$1 >= 80'))
CUDA_ARCHS := $(or $(CUDA_ARCHS),80)
endif
CUDA_ARCHS_STAMP := $(subst $(space),,$(BUILD)/cuda/for $(CUDA_ARCHS:%=-%))
CUDA_HOME := $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))
# -O1 is for the host code. Kernels are always fully optimised.
CUDA_FLAGS = -std=c++20 -O1 -I. $(DEPENDENCIES) --expt-relaxed-constexpr -Werror all-warnings -Xptxas -v -Xcompiler -Wall,-Wextra,-Wno-psabi \
  $(addprefix -gencode arch=compute_80$(comma)code=,compute_80 $(CUDA_ARCHS:%=sm_%))
CUDA_KERNEL_OBJECTS := $(call objects,$(BUILD)/cuda,$(call units,$(CUDA_KERNELS)))
CUDA_OBJECTS := $(call objects,$(BUILD)/cuda,$(call units,$(CUDA_HOST))) $(CUDA_KERNEL_OBJECTS)
# cuDNN's attention, where cuDNN's headers are there and those of its C++ graphs, which `make deps` brings.
ifneq ($(and $(wildcard $(CUDNN_FRONTEND)/include/cudnn_frontend.h),$(wildcard $(CUDA_HOME)/include/cudnn.h)),)
CUDNN_OBJECTS := $(BUILD)/cuda/kernels/attention/cuda/cudnn_graph.o
$(CUDNN_OBJECTS): FLAGS += -DENGINE_CUDNN -DNV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING -DCUDNN_FRONTEND_SKIP_JSON_LIB -isystem $(CUDNN_FRONTEND)/include
endif
# CUDA=0 leaves the backend out; the sanitizers do not know its libraries.
CUDA ?= $(if $(SANITIZE),0,1)
ifeq ($(CUDA),1)
HOST_OBJECTS := $(HOST_OBJECTS:$(BUILD)/kernels/backend/backend.o=$(BUILD)/cuda/kernels/backend/backend.o) $(CUDA_OBJECTS)
# The driver is loaded when the program runs: it starts without one, too.
LIBRARIES += -L$(CUDA_HOME)/lib64 -lcudart_static -ldl -lrt -lpthread
$(BUILD)/cuda/kernels/backend/backend.o: FLAGS += -DENGINE_CUDA
endif
endif
BENCHES := $(wildcard bench/*.cc)

.DEFAULT_GOAL := all
.PHONY: all deps test docs bench gpu-check lint clean help

all: engine  ## builds ./engine

# The page's own files are part of the program.
$(BUILD)/report/page_files.o: $(wildcard report/*.html report/*.css report/*.js)

# Copied only where it differs, and never a sanitized one over the real one.
engine: $(BUILD)/engine
	@$(if $(SANITIZE),true,cmp -s $< $@ || cp -f $< $@)
.PHONY: engine

$(BUILD)/engine: $(BUILD)/engine.o $(OBJECTS)
	$(CXX) $(OPTIMISE) $^ -o $@ $(LIBRARIES)

# Tests run the program, too.
$(QUICK_TEST_OBJECTS): OPTIMISE := -O0
$(SLOW_TEST_OBJECTS): OPTIMISE := -O1
$(TEST_OBJECTS): $(PLAIN)/%.o: %.cc
	@mkdir -p $(@D)
	$(COMPILER) $(FLAGS) -c $< -o $@

$(BUILD)/tests/run: $(HOST_OBJECTS) $(TEST_OBJECTS) $(ISA_OBJECTS) | $(BUILD)/engine
	@mkdir -p $(@D)
	$(CXX) $(OPTIMISE) $^ -o $@ $(LIBRARIES)

$(BUILD)/bench/run: $(BENCHES:%.cc=$(BUILD)/%.o) $(OBJECTS)
	$(CXX) $(OPTIMISE) $^ -o $@ $(LIBRARIES) -lbenchmark -ldnnl

$(BUILD)/bench/whole_steps: $(patsubst %.cc,$(BUILD)/%.o,$(wildcard bench/steps/*.cc)) $(OBJECTS)
	$(CXX) $(OPTIMISE) $^ -o $@ $(LIBRARIES)

# for bench/check_huggingface.py
$(BUILD)/bench/model_logits: $(BUILD)/bench/logits/main.o $(OBJECTS)
	$(CXX) $(OPTIMISE) $^ -o $@ $(LIBRARIES)

ifdef SANITIZE
# Kernels are what takes the time of the sanitized tests; the rest takes the time of their compilation.
$(BUILD)/groups/%.o: OPTIMISE := $(OPTIMISE:-O1=-O0)
else
$(addprefix $(BUILD)/groups/,core/%.o text/%.o): OPTIMISE := -O2
$(BUILD)/groups/tasks/%.o: OPTIMISE := -O1
endif

define isa_rule
$(2)/%.o: OPTIMISE := $(if $(and $(SANITIZE),$(filter $(BUILD)/%,$(2))),$(OPTIMISE),-O3)
$(2)/%.o: %.cc
	@mkdir -p $$(@D)
	$$(COMPILER) $$(FLAGS) $(FLAGS_$(1)) -DENGINE_ISA=$(1) -c $$< -o $$@
endef
$(foreach isa,$(ISAS),$(eval $(call isa_rule,$(isa),$(call isa_folder,$(isa)))))
$(foreach unit,$(BF16_UNITS),$(eval $(call isa_rule,$(unit),$(call isa_folder,$(unit)))))

$(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	$(COMPILER) $(FLAGS) -c $< -o $@

# Compiled anew for other GPUs.
$(CUDA_ARCHS_STAMP):
	@mkdir -p $(@D) && rm -f $(@D)/for-* && touch $@

# What ptxas says of registers and shared memory is kept for bench/cuda_static.py.
$(BUILD)/cuda/%.o: %.cu $(CUDA_ARCHS_STAMP)
	@mkdir -p $(@D)
	$(if $(filter ccache,$(COMPILER)),ccache) $(NVCC) $(CUDA_FLAGS) -c $< -o $@ 2> $@.log || { cat $@.log >&2; exit 1; }

# For bench/cuda_static.py --check, which reads how the compiler stores vectors.
$(BUILD)/cuda/%.ptx: %.cu $(BUILD)/cuda/%.o
	$(NVCC) -std=c++20 -O3 -I. --expt-relaxed-constexpr -arch=compute_80 -ptx $< -o $@
cuda-check: $(CUDA_OBJECTS) $(CUDA_KERNEL_OBJECTS:.o=.ptx)  ## no kernel spills registers or splits a vector's store
	python3 bench/cuda_static.py --check $(CUDA_ARCHS) --build $(BUILD)
.PHONY: cuda-check

$(BUILD)/cuda/%.o: %.cc
	@mkdir -p $(@D)
	$(COMPILER) $(FLAGS) -isystem $(CUDA_HOME)/include -c $< -o $@

# The simulated device: the same kernels, compiled by the host's compiler against tests/cudasim, and the same host code.
# All else is linked as it is, but that cuDNN's graphs are tests/cudasim's. Variables that a kernel leaves unset get a pattern: a simulated thread must not be lucky.
SIM_TESTS := $(wildcard tests/cudasim/test_*.cc)
SIM_HOST := $(filter-out kernels/attention/cuda/cudnn_graph.cc,$(CUDA_HOST)) kernels/backend/backend.cc
SIM_SOURCES := $(call units,$(SIM_HOST)) $(call units,$(CUDA_KERNELS)) $(filter-out $(SIM_TESTS),$(wildcard tests/cudasim/*.cc))
SIM_OBJECTS := $(call objects,$(BUILD)/sim,$(SIM_SOURCES))
SIM_TEST_OBJECTS := $(call objects,$(BUILD)/sim,$(call grouped,$(SIM_TESTS)))
SIM_FLAGS = $(filter-out -Wconversion,$(FLAGS)) -DENGINE_SIM -isystem tests/cudasim/include \
  -ftrivial-auto-var-init=pattern
SIM_LIBRARIES := -lutf8proc -lcsv -lboost_context $(MPI_LIBRARIES)
ifndef SANITIZE
$(BUILD)/sim/%.o: OPTIMISE := -O1
endif
HOST_WITHOUT_BACKEND = $(filter-out %/kernels/backend/backend.o $(CUDA_OBJECTS),$(HOST_OBJECTS))
$(BUILD)/sim/%.o: %.cu
	@mkdir -p $(@D)
	$(COMPILER) $(SIM_FLAGS) -x c++ -c $< -o $@

$(BUILD)/sim/%.o: %.cc
	@mkdir -p $(@D)
	$(COMPILER) $(SIM_FLAGS) -c $< -o $@

$(BUILD)/engine-sim: $(BUILD)/engine.o $(HOST_WITHOUT_BACKEND) $(SIM_OBJECTS) $(ISA_OBJECTS)
	$(CXX) $(OPTIMISE) $^ -o $@ $(SIM_LIBRARIES)

$(BUILD)/tests/run_sim: $(HOST_WITHOUT_BACKEND) $(SIM_TEST_OBJECTS) $(SIM_OBJECTS) $(TEST_OBJECTS) $(ISA_OBJECTS) | $(BUILD)/engine $(BUILD)/engine-sim
	@mkdir -p $(@D)
	$(CXX) $(OPTIMISE) $^ -o $@ $(SIM_LIBRARIES)

# cuDNN's graphs are built for described devices: this needs cuDNN, but no GPU.
$(BUILD)/cuda/tests/cudnn/test_graphs.o: FLAGS += -DENGINE_CUDA_STUB='"$(CUDA_HOME)/lib64/stubs/libcuda.so"'
$(BUILD)/tests/run_cudnn: $(BUILD)/cuda/tests/cudnn/test_graphs.o $(PLAIN)/tests/main.o $(CUDNN_OBJECTS) $(BUILD)/cuda/core/cuda/library.o
	$(CXX) $(OPTIMISE) $^ -o $@ -ldl
cudnn-test: $(if $(CUDNN_OBJECTS),$(BUILD)/tests/run_cudnn)  ## cuDNN builds the graphs of attention, where it is there
	$(if $(CUDNN_OBJECTS),tests/run.sh $(BUILD)/tests/run_cudnn -- tests/cudnn/test_graphs.cc,\
	  @echo "cuDNN or its C++ graphs (make deps) are not here"; echo "0 passed, 0 failed, 1 skipped")
.PHONY: cudnn-test

# Under the sanitizers, which are ten times slower: its own tests, and operations of each kind. What the threads of a
# kernel that failed still held is not given back.
SIM_CASES := simulated device*,layernorm*,activation*,embedding*,rows*,rank:*,copy*,lerp*,adamw*,sum_of_squares*,attention: widths*
SIM_CASES := $(SIM_CASES),matmul: no rows*,matmul: a NaN*,cross_entropy: without dx*,cross_entropy: a NaN*,soft cross entropy: equal*
SIM_CASES := $(SIM_CASES),cosine loss: equal*,segment mean: forward*,sample: equal*,relative positions: texts*,errors of a device*,cuDNN on a device*
SIM_FILES := $(SIM_TESTS) $(shell grep -lE "on_every_backend|other_devices" $(TESTS))
SIM_RUN := $(if $(SANITIZE),ASAN_OPTIONS=detect_leaks=0) CUDASIM_LAUNCHES=$(BUILD)/launches.txt
sim-test: $(BUILD)/tests/run_sim  ## the tests that run on every device, the simulated one among them
	@rm -f $(BUILD)/launches.txt
	$(SIM_RUN) tests/run.sh $(BUILD)/tests/run_sim $(if $(SANITIZE),-tc="$(SIM_CASES)" -tce="*losses*") -- $(SIM_FILES)
.PHONY: sim-test

# Bugs that are planted in the CUDA sources, all in one build, each switched on by a variable of the environment. Of the
# simulated device's own tests most hold code of the real sources, so only those of the libraries' host code are there.
MUTANTS := $(BUILD)/mutants
MUTANT_TESTS := $(addprefix $(BUILD)/sim/tests/cudasim/,test_cublaslt.o test_cudnn.o)
MUTANT_OBJECTS := $(call objects,$(MUTANTS),$(filter kernels/%,$(filter-out kernels/backend/%,$(SIM_HOST))) $(CUDA_KERNELS))
MUTANT_FLAGS = -include $(MUTANTS)/planted_bug.h -I$(MUTANTS) $(filter-out -MMD -MP -MF -MT %.d $(PLAIN)/% '$$(PLAIN)%,$(SIM_FLAGS))
$(MUTANTS)/planted_bug.h: tests/mutation/bugs.txt tests/mutation/plant.py $(wildcard kernels/cuda/* kernels/*/cuda/*)
	python3 tests/mutation/plant.py $(MUTANTS)
$(MUTANTS)/%.o: $(MUTANTS)/planted_bug.h
	$(COMPILER) $(MUTANT_FLAGS) -x c++ -c $(firstword $(wildcard $(MUTANTS)/$*.cu $(MUTANTS)/$*.cc)) -o $@
$(MUTANTS)/run: $(MUTANT_OBJECTS) $(HOST_WITHOUT_BACKEND) $(filter-out $(addprefix $(BUILD)/sim/,kernels/% groups/kernels/%),$(SIM_OBJECTS)) $(BUILD)/sim/kernels/backend/backend.o $(MUTANT_TESTS) $(TEST_OBJECTS) $(ISA_OBJECTS)
	$(CXX) $(OPTIMISE) $^ -o $@ $(SIM_LIBRARIES)
mutation-test: $(MUTANTS)/run  ## plants bugs in the CUDA sources and prints which of them no test sees
	python3 tests/mutation/run.py $<
.PHONY: mutation-test

# What the engine, its tests and its benchmarks are built with; oneDNN is there to be compared with.
PACKAGES := g++ make ccache libutf8proc-dev libcsv-dev nlohmann-json3-dev libcli11-dev libtomlplusplus-dev doctest-dev \
  libbenchmark-dev libdnnl-dev libboost-context-dev libopenmpi-dev openmpi-bin
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)

deps:  ## installs what is missing of the Debian or Ubuntu packages that the engine needs
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi
	@$(if $(NVCC),test -d $(CUDNN_FRONTEND) || ( mkdir -p $(CUDNN_FRONTEND) && cd $(CUDNN_FRONTEND) && \
	  python3 -m pip download -q --no-deps --only-binary=:all: nvidia-cudnn-frontend==$(CUDNN_FRONTEND_VERSION) && \
	  python3 -m zipfile -e *.whl . && rm -rf *.whl cudnn ) || \
	  { rm -rf $(CUDNN_FRONTEND); echo "without cuDNN's attention: nvidia-cudnn-frontend cannot be had"; },true)

# The sanitizers leave out whole trainings, of which one that is like them stays, programs that are traced, in which
# leaks cannot be looked for, limits of memory and time, which they change, and what takes longest beside others that are
# like it: GPT-2's whole vocabulary, files larger than memory, a million tries to draw an expression.
TRAININGS := tokenizer bpe: GPT-2*,squad: files of any size*,self-writing: a training*,configs: each*,scratchpad: an impossible*,scratchpad: a tiny decoder*,expression file: the splits*,faults: *,parse limits: *,socket ranks: where*,socket ranks: the second*,mlm: small encoders*,scratchpad: a trained decoder*,sharded ranks: a killed*,virtual shards: 1*
test: $(BUILD)/tests/run engine  ## builds and runs the tests (SANITIZE=1: under the sanitizers)
	$(if $(SANITIZE),ENGINE_TEST_BEST_SET=1) tests/run.sh $(BUILD)/tests/run $(if $(SANITIZE),-tce="$(TRAININGS)") -- $(wildcard tests/test_*.cc)

# The tests try one fault of every fourth system call and some lengths of each file, and kill thirty times.
fault-test: $(BUILD)/tests/run engine  ## every fault of every system call of a training, and files cut at every length
	ENGINE_TEST_ALL=1 tests/run.sh $(BUILD)/tests/run -- tests/test_faults.cc tests/test_cut_files.cc
KILLS ?= 1000
kill-test: $(BUILD)/tests/run  ## KILLS kills of a training at random times, each of which goes on
	ENGINE_TEST_KILLS=$(KILLS) tests/run.sh $(BUILD)/tests/run -tc="resume: killed*" -- tests/test_resume.cc
RANK_KILLS ?= 100
rank-kill-test: $(BUILD)/tests/run  ## RANK_KILLS kills and stops of a random rank of a training over 2 or 4 ranks
	ENGINE_TEST_RANK_KILLS=$(RANK_KILLS) $(BUILD)/tests/run -tc="killed ranks: *"
.PHONY: fault-test kill-test rank-kill-test

# libFuzzer on each target of tests/fuzz for so many seconds, one after another. All that reads files is compiled by clang
# with the address and undefined-behaviour sanitizers, and linked with the rest as it is.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(notdir $(wildcard tests/fuzz/corpus/*))
FUZZ_CXX := $(shell command -v clang++ 2>/dev/null)
FUZZ_FOLDERS := core/% text/% training/% tasks/% report/% commands/%
FUZZ_SOURCES := $(filter-out $(ALONE),$(filter $(FUZZ_FOLDERS),$(SOURCES))) core/toml.cc tests/fuzz/fuzzer.cc $(wildcard tests/fuzz/*targets.cc)
FUZZ_OBJECTS := $(call objects,$(PLAIN)/fuzz,$(FUZZ_SOURCES))
FUZZ_REST := $(call objects,$(PLAIN),$(call units,$(filter-out $(FUZZ_SOURCES),$(SOURCES)))) \
  $(foreach isa,$(ISAS),$(call objects,$(PLAIN)/$(isa),$(CPU_GROUPS))) \
  $(foreach unit,$(BF16_UNITS),$(call objects,$(PLAIN)/$(unit),$(BF16_SOURCES)))
FUZZ_FLAGS := -std=c++20 -O1 -g1 -I. -Wno-everything -fsanitize=address,undefined -fno-sanitize=vptr,function -fno-sanitize-recover=all \
  -fsanitize-ignorelist=tests/fuzz/not_sanitized.txt
$(PLAIN)/fuzz/%.o: %.cc
	@mkdir -p $(@D)
	$(if $(filter ccache,$(COMPILER)),ccache) $(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@
$(PLAIN)/fuzz/run: $(FUZZ_OBJECTS) $(FUZZ_REST)
	$(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -o $@ $(LIBRARIES)
dictionary_of = $(wildcard tests/fuzz/$(or $(DICTIONARY_$(1)),$(1)).dict)
$(foreach name,json_lines metrics choices expression_file state model_config squad_json,$(eval DICTIONARY_$(name) := json))
DICTIONARY_sweep := toml
$(foreach name,wordpiece bpe tokenizer_json sentencepiece,$(eval DICTIONARY_$(name) := tokenizer))
$(foreach name,squad_lines squad_table glue,$(eval DICTIONARY_$(name) := squad))
fuzz: $(if $(FUZZ_CXX),$(PLAIN)/fuzz/run)  ## fuzzes each parser for FUZZ_SECONDS (FUZZ_TARGETS="json toml": these alone), where clang++ is
	$(if $(FUZZ_CXX),,@echo "clang++ is not here: nothing is fuzzed")
	$(if $(FUZZ_CXX),$(foreach name,$(FUZZ_TARGETS),mkdir -p $(PLAIN)/fuzz/found/$(name) && FUZZ_TARGET=$(name) $(PLAIN)/fuzz/run \
	  -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
	  $(addprefix -dict=,$(call dictionary_of,$(name))) -artifact_prefix=$(PLAIN)/fuzz/$(name)- \
	  $(PLAIN)/fuzz/found/$(name) tests/fuzz/corpus/$(name) &&) true)
.PHONY: fuzz

docs: engine  ## writes the generated part of docs/: the reference of all options
	./engine info --options > docs/options.md

lint:  ## checks what the compiler does not: include directions, lengths, things left undone
	@tests/lint.sh

gpu-check: $(BUILD)/tests/run $(BUILD)/bench/run $(BUILD)/bench/whole_steps engine  ## tests, sanitizer and benchmarks on this machine's GPU, and a report
	python3 bench/gpu_check.py --build $(BUILD)

# An archive for a machine that has a GPU of this architecture and perhaps nothing else: the program, its tests and whole
# steps, and bench/gpu_check.py, which runs them. cuBLAS and cuDNN are too large for it. They are used where they are.
PACKAGE_ARCH ?= 90
PACKAGE := $(PLAIN)/package/sm_$(PACKAGE_ARCH)
PACKAGED := $(addprefix $(PACKAGE)/,engine tests/run bench/whole_steps)
gpu-package:  ## build/gpu-package.tar.xz: what make gpu-check runs, for a machine with a GPU and without compilers
	$(if $(NVCC),,$(error gpu-package needs nvcc))
	$(MAKE) BUILD=$(PACKAGE) CUDA=1 CUDA_ARCHS=$(PACKAGE_ARCH) MPI=0 SELF_CONTAINED=1 $(PACKAGED)
	NVCC=$(NVCC) bench/pack.sh $(PACKAGE) $(PACKAGE_ARCH) $(PLAIN)/gpu-package.tar.xz
gpu-package-test: gpu-package  ## runs the archive in a root with a C library, a shell and Python, as far as it needs no GPU
	tests/gpu_package.sh $(PLAIN)/gpu-package.tar.xz
.PHONY: gpu-package gpu-package-test

scaling-check: $(BUILD)/bench/whole_steps  ## the model of docs/scaling.md keeps its own laws and agrees with the engine
	python3 bench/scaling.py --check --build $(BUILD)
.PHONY: scaling-check

bench: $(BUILD)/bench/run $(BUILD)/bench/whole_steps  ## microbenchmarks of the operations
	$(BUILD)/bench/run

clean:  ## removes what was built
	rm -rf build engine

help:  ## lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/ -/'

-include $(shell find $(PLAIN) -name '*.d' 2>/dev/null)
