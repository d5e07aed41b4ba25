# Shared by the scripts beside it; sourced, never run.
#
# What can be set from outside:
#   LEAT_CACHE           everything that is downloaded, stored or logged
#                        (default ${XDG_CACHE_HOME:-$HOME/.cache}/leat)
#   LEAT_KAFKA_PORT      port of the first broker (default 19092). Broker n listens on
#                        LEAT_KAFKA_PORT + 2(n-1), its controller on the port after that. Not one
#                        of those that the system gives to outgoing connections (on Linux 32768 and
#                        up): one of them may be taken just then.
#   LEAT_KAFKA_HEAP      Java heap of one broker (default 768m, with three brokers 512m)
#   LEAT_REGISTRY_PORT   port of the registry (default 18081); its management port is the next one
#   LEAT_POSTGRES_PORT   port of PostgreSQL (default 15432)
#   LEAT_CHAOS_PORT      first of the 15 ports of the fault suite's own cluster (default 24000)
#   LEAT_START_TIMEOUT   seconds a server may take until it answers (default 90)

readonly kafka_version=4.3.1
readonly registry_version=3.0.9
readonly confluent_version=2.16
readonly postgres_version=18.6.0
readonly cache=${LEAT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/leat}
readonly kafka_port=${LEAT_KAFKA_PORT:-19092}
readonly registry_port=${LEAT_REGISTRY_PORT:-18081}
readonly postgres_port=${LEAT_POSTGRES_PORT:-15432}
readonly start_timeout=${LEAT_START_TIMEOUT:-90}
readonly kafka_libs=$cache/kafka-$kafka_version
readonly confluent_home=$cache/confluent-kafka-$confluent_version-all
readonly registry_home=$cache/apicurio-$registry_version
readonly postgres_home=$cache/postgres-$postgres_version
readonly postgres_dir=$cache/postgres-data-$postgres_port
readonly registry_dir=$cache/registry-$registry_port
readonly registry_url=http://127.0.0.1:$registry_port/apis/ccompat/v7

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

need() {
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || die "needs '$tool', which is not on the PATH"
	done
}

# A cluster is of size 1, 3, or "secure", which is one broker, too.
nodes() { [[ $1 == secure ]] && echo 1 || echo "$1"; }

# Data of a cluster depends on its size and its ports: both are written into it.
kafka_dir() { printf '%s\n' "$cache/kafka-$1-$kafka_port"; }
broker_port() { printf '%s\n' $((kafka_port + 2 * ($1 - 1))); }
controller_port() { printf '%s\n' $((kafka_port + 2 * ($1 - 1) + 1)); }

kafka_addresses() {
	local node list=
	for ((node = 1; node <= $1; node++)); do
		list+=${list:+,}127.0.0.1:$(broker_port "$node")
	done
	printf '%s\n' "$list"
}

# alive PIDFILE MARK: whether the recorded process runs and is the one we started. The mark,
# part of its command line, guards against an id that was given to another process since.
alive() {
	local pid
	[[ -s $1 ]] || return 1
	pid=$(<"$1")
	[[ $(ps -p "$pid" -o command= 2>/dev/null) == *"$2"* ]]
}

# kafka_running SIZE: whether every broker of that cluster runs.
kafka_running() {
	local node dir
	for ((node = 1; node <= $(nodes "$1"); node++)); do
		dir=$(kafka_dir "$1")/node$node
		alive "$dir/pid" "$dir/server.properties" || return 1
	done
}

# kafka_any SIZE: whether at least one broker of that cluster runs.
kafka_any() {
	local node dir
	for ((node = 1; node <= $(nodes "$1"); node++)); do
		dir=$(kafka_dir "$1")/node$node
		! alive "$dir/pid" "$dir/server.properties" || return 0
	done
	return 1
}

registry_running() { alive "$registry_dir/pid" "$registry_home"; }
registry_answers() { curl -fsS -m 5 -o /dev/null "$registry_url/subjects" 2>/dev/null; }

postgres_running() { alive "$postgres_dir/pid" "$postgres_dir/data"; }

# port_open PORT: whether something accepts connections there.
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port_closed() { ! port_open "$1"; }

# launch PIDFILE LOG COMMAND...: starts a process that outlives this script. A job of its own
# (set -m) keeps a Ctrl-C meant for the caller from reaching it. Until its exec the child has this
# script's command line, by which alive would take it for ended: that is waited for.
launch() {
	local pidfile=$1 log=$2
	shift 2
	set -m
	"$@" </dev/null >"$log" 2>&1 &
	printf '%s\n' "$!" >"$pidfile"
	await $((SECONDS + 10)) executed "$!" || die "process $! does not start"
	disown
	set +m
}

executed() { [[ $(ps -p "$1" -o command= 2>/dev/null) != $(ps -p $$ -o command=) ]]; }

# await DEADLINE TEST...: repeats TEST until it succeeds or SECONDS reaches DEADLINE.
await() {
	local deadline=$1
	shift
	until "$@"; do
		((SECONDS < deadline)) || return 1
		sleep 0.1
	done
}

gone() { ! alive "$@"; }

# stop_process PIDFILE MARK: SIGTERM, and after 30 s SIGKILL.
stop_process() {
	if alive "$1" "$2"; then
		kill "$(<"$1")" 2>/dev/null || true
		if ! await $((SECONDS + 30)) gone "$1" "$2"; then
			say "process $(<"$1") ignored SIGTERM for 30 s; killing it"
			kill -KILL "$(<"$1")" 2>/dev/null || true
			await $((SECONDS + 10)) gone "$1" "$2" || die "process $(<"$1") does not end"
		fi
	fi
	rm -f "$1"
}

# lock NAME: at most one script at a time works on NAME; released when this script ends. A
# directory is the lock because mkdir is atomic everywhere and flock(1) is not everywhere.
lock() {
	mkdir -p "$cache"
	lock_dir=$cache/lock-$1
	await $((SECONDS + 2 * start_timeout)) take_lock ||
		die "another script holds $lock_dir; remove it if none runs"
	trap 'rm -rf "$lock_dir"' EXIT
}

take_lock() {
	if mkdir "$lock_dir" 2>/dev/null; then
		printf '%s\n' "$$" >"$lock_dir/pid"
		return 0
	fi
	local owner
	owner=$(cat "$lock_dir/pid" 2>/dev/null) || return 1
	[[ -n $owner ]] && ! kill -0 "$owner" 2>/dev/null && rm -rf "$lock_dir"
	return 1
}

# fetch_kafka: Kafka's jars and those they need, once.
fetch_kafka() {
	[[ ! -d $kafka_libs ]] || return 0
	need mvn
	say "fetching Apache Kafka $kafka_version from Maven Central"
	local tmp=$kafka_libs.tmp
	rm -rf "$tmp"
	mkdir -p "$tmp"
	cat >"$tmp/pom.xml" <<-POM
		<project xmlns="http://maven.apache.org/POM/4.0.0">
		  <modelVersion>4.0.0</modelVersion>
		  <groupId>leat</groupId><artifactId>kafka-libs</artifactId><version>1</version><packaging>pom</packaging>
		  <dependencies>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$kafka_version</version></dependency>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$kafka_version</version></dependency>
		    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
		  </dependencies>
		</project>
	POM
	mvn -q -B -Dstyle.color=never -f "$tmp/pom.xml" dependency:copy-dependencies -DoutputDirectory="$tmp" >&2 ||
		die "fetching Kafka's jars failed"
	# Renaming last makes a broken download start afresh instead of half a class path.
	mv "$tmp" "$kafka_libs"
}

# fetch_registry: Apicurio, once.
fetch_registry() {
	[[ ! -d $registry_home ]] || return 0
	need mvn tar
	say "fetching Apicurio Registry $registry_version from Maven Central"
	local tmp=$registry_home.tmp
	rm -rf "$tmp"
	mkdir -p "$tmp/app"
	# Run where no pom.xml is, or Maven would read the caller's.
	(cd "$tmp" && mvn -q -B -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:2.8:get -Dtransitive=false \
		-Dartifact="io.apicurio:apicurio-registry-app:$registry_version:tar.gz:all" -Ddest="$tmp/app.tar.gz" >&2) ||
		die "fetching the registry failed"
	tar -xzf "$tmp/app.tar.gz" -C "$tmp/app"
	mv "$tmp/app" "$registry_home"
	rm -rf "$tmp"
}

# fetch_postgres: the server alone, without psql, once.
fetch_postgres() {
	[[ ! -d $postgres_home ]] || return 0
	local system arch
	case $(uname -s) in
	Linux) system=linux ;;
	Darwin) system=darwin ;;
	*) die "there is no PostgreSQL to fetch for $(uname -s)" ;;
	esac
	case $(uname -m) in
	x86_64 | amd64) arch=amd64 ;;
	aarch64 | arm64) arch=arm64v8 ;;
	*) die "there is no PostgreSQL to fetch for $(uname -m)" ;;
	esac
	need mvn unzip tar xz
	say "fetching PostgreSQL $postgres_version from Maven Central"
	local tmp=$postgres_home.tmp
	rm -rf "$tmp"
	mkdir -p "$tmp/server"
	(cd "$tmp" && mvn -q -B -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:2.8:get -Dtransitive=false \
		-Dartifact="io.zonky.test.postgres:embedded-postgres-binaries-$system-$arch:$postgres_version" -Ddest="$tmp/postgres.jar" >&2) ||
		die "fetching PostgreSQL failed"
	unzip -q -o "$tmp/postgres.jar" '*.txz' -d "$tmp"
	tar -xJf "$tmp"/*.txz -C "$tmp/server"
	mv "$tmp/server" "$postgres_home"
	rm -rf "$tmp"
}

# fetch_confluent: Confluent's Python client with all its serializers, and protoc, once. The mark
# comes last, so that a broken installation starts afresh.
fetch_confluent() {
	[[ ! -e $confluent_home/complete ]] || return 0
	need python3
	say "fetching Confluent's Python client $confluent_version from PyPI"
	rm -rf "$confluent_home"
	mkdir -p "$cache"
	python3 -m venv "$confluent_home" && "$confluent_home/bin/pip" install -q --disable-pip-version-check \
		"confluent-kafka[avro,json,protobuf]==$confluent_version.*" "grpcio-tools==1.85.*" >&2 || die "fetching the client failed"
	: >"$confluent_home/complete"
}

kafka_java() { java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$kafka_libs/*" "$@"; }

# alone COMMAND...: runs it as root of a network and of mounts of its own. They end with it.
alone() {
	local user=()
	((EUID == 0)) || user=(--user --map-root-user)
	need unshare
	unshare ${user[@]+"${user[@]}"} --net --mount "$@"
}
