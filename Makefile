# Every target calls one script of hack/, which says what it does in its first lines.
PREFIX ?= /usr/local

.PHONY: build run stop test bench lint fmt install clean

build: ## static binaries into ./bin
	@hack/build.sh

run: ## a running node with a pod, from nothing (root)
	@hack/run.sh

stop: ## ends what `make run` started and leaves nothing
	@hack/stop.sh

test: ## everything: fences, units, the real kernel, a real kubelet (root)
	@hack/test.sh

bench: ## the kernel limit, the runtime alone, each CRI phase (root)
	@hack/bench.sh

lint: ## fences, formatting, vet, and golangci-lint where it is installed
	@hack/lint.sh

fmt: ## gofmt in place
	@gofmt -l -w $$(git ls-files --cached --others --exclude-standard '*.go')

install: build ## binaries, systemd unit and configuration below PREFIX
	@hack/install.sh $(DESTDIR) $(PREFIX)

clean: ## what was built
	@rm -rf bin
