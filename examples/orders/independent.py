"""Orders by another client: Confluent's, which shares no code with Leat.

    independent.py write  BROKERS REGISTRY   creates the topics, writes customers and orders
    independent.py verify BROKERS REGISTRY   checks that each is exactly once where it belongs
    independent.py clean  BROKERS            deletes the topics

Between write and verify the job runs to its end; scripts/test-independent does all of it. The
topics are deleted first: never point this at a cluster whose orders somebody needs.

Needs confluent-kafka[avro].
"""

import datetime
import json
import pathlib
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

PARTITIONS = 4
REGIONS = ["us-east", "us-west", "eu-west", "ap-south"]  # in the order of their partitions
TOPICS = ["orders", "customers", "orders.enriched", "orders.review", "orders.dlq"]
ORDERS = 5000
CUSTOMERS = 50
PATIENCE = 60  # seconds; only a failing run waits that long
BEGAN = datetime.datetime(2026, 3, 29, 0, 59, 59, 123000, tzinfo=datetime.timezone.utc)
LEAT_HEADERS = ["pipeline", "stage", "error", "topic", "partition", "offset", "timestamp"]


def schema(name):
    return (pathlib.Path(__file__).parent / "schemas" / (name + ".avsc")).read_text()


def customer(i):
    return {"customer_id": f"k{i}", "name": f"Kundin № {i} — 水", "tier": ["STANDARD", "GOLD"][i % 2], "country": "DE"}


def order(i):
    """Order number i, what is wrong with it, and the topic and stage it must come to."""
    o = {
        "order_id": f"i{i}",
        "customer_id": f"k{i % CUSTOMERS}",
        "region": REGIONS[i % 4] if i % 11 else "moon",
        "amount_cents": [1, 999_999, 1_000_000, 2**62][i % 7 % 4],
        "currency": "EUR",
        "status": "PAID",
        "created_at": BEGAN + datetime.timedelta(milliseconds=i),
    }
    where = "orders.review" if o["amount_cents"] >= 1_000_000 else "orders.enriched"
    fault = None
    match i % 40:
        case 0:
            o["status"], where = ["NEW", "CANCELLED"][i // 40 % 2], None
        case 1:
            o["amount_cents"], where, fault = [0, -(2**62)][i // 40 % 2], "orders.dlq", "validate"
        case 2:
            o["currency"], where, fault = ["", "eur", "EUROS", "ÄÖÜ"][i // 40 % 4], "orders.dlq", "validate"
        case 3:
            o["customer_id"], where, fault = "nobody", "orders.dlq", "customer"
        case 4:
            where, fault = "orders.dlq", "orders"  # the bytes are spoilt, see broken
    return o, where, fault


def broken(i, value):
    """Spoils the bytes of order number i, each time in another way."""
    return [b"", None, b"no Avro", value[:-1], value + b"\0", value[:1] + b"\x7f\xff\xff\xff" + value[5:], value[:5]][i // 40 % 7]


def headers(i):
    return [("trace", b"%d" % i), ("n", None), ("trace", b"again")] if i % 3 == 0 else []


def key(o):
    return f"{o['region']}:{o['order_id']}".encode()


def murmur2(data):
    """Kafka's hash of keys, by org.apache.kafka.common.utils.Utils."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def by_hash(key):
    return (murmur2(key) & 0x7FFFFFFF) % PARTITIONS


def clean(brokers):
    admin = AdminClient({"bootstrap.servers": brokers})
    there = [t for t in TOPICS if t in admin.list_topics(timeout=10).topics]
    for done in (admin.delete_topics(there, operation_timeout=30) if there else {}).values():
        done.result()
    return admin


def create(brokers):
    admin = clean(brokers)
    replicas = min(3, len(admin.list_topics(timeout=10).brokers))
    new = [NewTopic(t, PARTITIONS, replicas, config={"cleanup.policy": "compact"} if t == "customers" else {}) for t in TOPICS]
    deadline = time.monotonic() + PATIENCE
    for topic in new:
        while True:  # a topic of this name may still be being deleted
            try:
                admin.create_topics([topic])[topic.topic].result()
                break
            except KafkaException as e:
                if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def write(brokers, registry):
    create(brokers)
    client = SchemaRegistryClient({"url": registry, "timeout": 10})
    # In transactions, so that the job's input has control records, and one of them aborted.
    producer = Producer({
        "bootstrap.servers": brokers, "transactional.id": "independent", "partitioner": "murmur2_random", "linger.ms": 5,
    })
    producer.init_transactions(PATIENCE)

    def serializer(name, topic):
        to_bytes = AvroSerializer(client, schema(name), conf={"normalize.schemas": True})
        return lambda value: to_bytes(value, SerializationContext(topic, MessageField.VALUE))

    to_customer, to_order = serializer("customer", "customers"), serializer("order", "orders")
    producer.begin_transaction()
    for i in range(CUSTOMERS):
        # Only the last entry of a key counts, and a tombstone deletes.
        old = dict(customer(i), name="old")
        for value in (to_customer(old), None, to_customer(customer(i))):
            producer.produce("customers", key=f"k{i}".encode(), value=value)
    producer.produce("customers", key=b"nobody", value=to_customer(dict(customer(0), customer_id="nobody")))
    producer.produce("customers", key=b"nobody", value=None)
    producer.commit_transaction(PATIENCE)

    producer.begin_transaction()
    producer.produce("orders", key=b"us-east:aborted", value=to_order(dict(order(5)[0], order_id="aborted")))
    producer.flush(PATIENCE)
    producer.abort_transaction(PATIENCE)
    for first in range(0, ORDERS, 1000):
        producer.begin_transaction()
        for i in range(first, first + 1000):
            o, _, fault = order(i)
            value = to_order(o)
            producer.produce("orders", key=key(o), value=broken(i, value) if fault == "orders" else value, headers=headers(i))
            producer.poll(0)
        producer.commit_transaction(PATIENCE)
    print(f"wrote {ORDERS} orders and {CUSTOMERS} customers")


def read(brokers, topic):
    """Every committed record of a topic, to its end as of now."""
    consumer = Consumer({
        "bootstrap.servers": brokers, "group.id": "independent", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest",
    })
    consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    left, records, deadline = set(range(PARTITIONS)), [], time.monotonic() + PATIENCE
    while left:
        m = consumer.poll(1)
        if time.monotonic() > deadline:
            sys.exit(f"{topic}: the ends of partitions {left} were not reached in {PATIENCE} s")
        if m is None:
            continue
        if m.error() is None:
            records.append(m)
        elif m.error().code() == KafkaError._PARTITION_EOF:
            left.discard(m.partition())
        else:
            raise KafkaException(m.error())
    consumer.close()
    return records


def verify(brokers, registry):
    client = SchemaRegistryClient({"url": registry, "timeout": 10})
    registered = json.loads(client.get_latest_version("orders.enriched-value").schema.schema_str)
    if registered["name"] != "EnrichedOrder" or "namespace" in registered:
        sys.exit(f"orders.enriched-value is {registered['name']}, namespace {registered.get('namespace')}")
    from_bytes = AvroDeserializer(client, schema("enriched_order"))
    source = {m.key(): m for m in read(brokers, "orders")}
    problems, found = [], dict.fromkeys(TOPICS, 0)
    wanted = {}  # by key: what has to be where
    for i in range(ORDERS):
        o, where, fault = order(i)
        if where:
            wanted[key(o)] = (i, o, where, fault)
    if len(source) != ORDERS:
        problems.append(f"{len(source)} of {ORDERS} orders are in the input")

    for topic in ["orders.enriched", "orders.review", "orders.dlq"]:
        for m in read(brokers, topic):
            found[topic] += 1
            place = f"{topic}[{m.partition()}]@{m.offset()} {m.key()}"
            if m.key() not in wanted:
                problems.append(f"{place}: belongs nowhere, or is there twice")
                continue
            i, o, where, fault = wanted.pop(m.key())
            origin = source[m.key()]

            def equal(what, got, want):
                if got != want:
                    problems.append(f"{place}: {what} is {got!r}, not {want!r}")

            equal("topic", topic, where)
            equal("timestamp", m.timestamp(), origin.timestamp())
            partition = by_hash(m.key())
            if topic == "orders.enriched" and o["region"] in REGIONS:
                partition = REGIONS.index(o["region"])
            equal("partition", m.partition(), partition)
            got = m.headers() or []
            if topic != "orders.dlq":
                c = customer(int(o["customer_id"][1:]))
                full = dict(o, customer_name=c["name"], tier=c["tier"], country=c["country"])
                equal("value", from_bytes(m.value(), SerializationContext(topic, MessageField.VALUE)), full)
                equal("headers", got, headers(i))
                continue
            equal("value", m.value(), origin.value())
            equal("headers", got[: -len(LEAT_HEADERS)], headers(i))
            equal("names of headers", [name for name, _ in got[-len(LEAT_HEADERS) :]], ["leat." + h for h in LEAT_HEADERS])
            leat = dict(got)
            if not leat.pop("leat.error", b""):
                problems.append(f"{place}: no leat.error")
            for name, want in [
                ("pipeline", "orders-by-region"), ("stage", fault), ("topic", "orders"), ("partition", origin.partition()),
                ("offset", origin.offset()), ("timestamp", origin.timestamp()[1]),
            ]:
                equal("leat." + name, leat.get("leat." + name), str(want).encode())
    problems += [f"{k} is missing in {where}" for k, (_, _, where, _) in wanted.items()]
    print(", ".join(f"{n} in {topic}" for topic, n in found.items() if n))
    if problems:
        print("\n".join(problems[:20]))
        sys.exit(f"{len(problems)} problems")
    print(f"each of {ORDERS} orders is exactly once where it belongs")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", brokers, registry]:
            write(brokers, registry)
        case ["verify", brokers, registry]:
            verify(brokers, registry)
        case ["clean", brokers]:
            clean(brokers)
        case _:
            sys.exit(__doc__)
