#!/bin/sh
# Generates the Go code of backend.proto. It needs protoc (Debian and Ubuntu:
# protobuf-compiler; macOS: brew install protobuf) and installs the two Go
# generators into bin/tools of this repository when they are not there.
set -eu

PROTOC_GEN_GO=v1.36.12
PROTOC_GEN_GO_GRPC=v1.6.2

here=$(cd "$(dirname "$0")" && pwd)
tools=$(cd "$here/../.." && pwd)/bin/tools
mkdir -p "$tools"

if ! command -v protoc >/dev/null; then
	echo "generate.sh: protoc is not installed; see the first lines of $0" >&2
	exit 1
fi

# install TOOL PACKAGE VERSION, unless that version is there.
install() {
	have=$("$tools/$1" --version 2>/dev/null || true)
	case "$have" in
	*"${3#v}") ;;
	*) GOBIN="$tools" go install "$2@$3" ;;
	esac
}
install protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go "$PROTOC_GEN_GO"
install protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc "$PROTOC_GEN_GO_GRPC"

PATH="$tools:$PATH" protoc --proto_path="$here" \
	--go_out="$here" --go_opt=paths=source_relative \
	--go-grpc_out="$here" --go-grpc_opt=paths=source_relative \
	backend.proto
