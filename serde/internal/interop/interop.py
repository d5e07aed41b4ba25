"""Confluent's Python client's side of scripts/test-interop; main.go beside it is Leat's.

    interop.py write  BROKERS REGISTRY RUN   writes what Leat reads
    interop.py verify BROKERS REGISTRY RUN   reads what Leat has written

Everything read is made a document, and compared field by field with testdata/expected.json.

Needs confluent-kafka[avro,json,protobuf] and grpcio-tools, for its protoc.
"""

import base64
import datetime
import decimal
import json
import pathlib
import struct
import sys
import tempfile
import time
import uuid

import grpc_tools.protoc
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, timestamp_pb2

HERE = pathlib.Path(__file__).parent
PATIENCE = 60  # seconds; only a failing run waits that long
UTC = datetime.timezone.utc
decimal.getcontext().prec = 40


def text(file):
    return (HERE / "testdata" / file).read_text()


EXPECTED = json.loads(text("expected.json"))


# Documents: bytes are base64, dates and times text, decimals their digits.


def document(value, name=None):
    match value:
        case bytes() if name == "period":  # the library leaves Avro's duration as it is
            return list(struct.unpack("<III", value))
        case bytes():
            return base64.b64encode(value).decode()
        case decimal.Decimal() | uuid.UUID():
            return str(value)
        case datetime.datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%S.%f") + ("Z" if value.tzinfo else "")
        case datetime.time():
            return value.strftime("%H:%M:%S.%f")
        case datetime.date():
            return value.isoformat()
        case dict():
            return {k: document(v, k) for k, v in value.items()}
        case list():
            return [document(v) for v in value]
        case None | bool() | int() | float() | str():
            return value
    return json_format.MessageToDict(value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def differences(at, got, want):
    """Names each field that is not as it should be."""
    if isinstance(got, dict) and isinstance(want, dict):
        for k in sorted(got.keys() | want.keys()):
            if k not in got:
                yield f"{at}.{k} is missing, want {want[k]!r}"
            elif k not in want:
                yield f"{at}.{k} is {got[k]!r}, want none"
            else:
                yield from differences(f"{at}.{k}", got[k], want[k])
    elif isinstance(got, list) and isinstance(want, list) and len(got) == len(want):
        for i, (g, w) in enumerate(zip(got, want)):
            yield from differences(f"{at}[{i}]", g, w)
    elif got != want or isinstance(got, bool) != isinstance(want, bool):
        yield f"{at} is {got!r}, want {want!r}"


# Protobuf messages, made by Google's own compiler. Each version of a message has a pool of its own.


def messages(root, *files):
    with tempfile.NamedTemporaryFile() as out:
        command = ["protoc", f"-I{root}", f"--descriptor_set_out={out.name}", "--include_imports"]
        wellknown = pathlib.Path(grpc_tools.protoc.__file__).parent / "_proto"
        if grpc_tools.protoc.main([*command, f"-I{wellknown}", *files]):
            sys.exit(f"protoc does not compile {files}")
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


ORDERS = messages(HERE.parent / "testpb", "order.proto")
VISIT1 = messages(HERE / "pb" / "v1", "visit.proto")("leat.interop.Visit")
VISIT2 = messages(HERE / "pb" / "v2", "visit.proto")("leat.interop.Visit")


# Formats: how one value is written and read.


class Plain:
    def write(self, value, ctx):
        return value

    read = write


class Avro:
    """With a reader's schema that is that of the writer, unless another is given."""

    def __init__(self, client, file, *references, reader=None):
        conf = {"normalize.schemas": True}
        self.write = AvroSerializer(client, schema(client, file, "AVRO", references), conf=conf)
        self.read = AvroDeserializer(client, schema(client, reader or file, "AVRO", references))


class Json:
    def __init__(self, client, file, *references, reader=None):
        self.write = JSONSerializer(schema(client, file, "JSON", references), client, conf={"normalize.schemas": True})
        self.read = JSONDeserializer(schema(client, reader or file, "JSON", references), schema_registry_client=client)


class Protobuf:
    def __init__(self, client, message):
        self.to_bytes = ProtobufSerializer(message, client)
        self.read = ProtobufDeserializer(message, {}, client)
        self.message = message

    def write(self, value, ctx):
        if isinstance(value, dict):
            value = json_format.ParseDict(value, self.message())
        return self.to_bytes(value, ctx)


def schema(client, file, language, references):
    """A schema, after registering those that it refers to, which are names and files."""
    there = []
    for name, subject, of in references:
        client.register_schema(subject, Schema(text(of), language), normalize_schemas=True)
        version = client.lookup_schema(subject, Schema(text(of), language), normalize_schemas=True).version
        there.append(SchemaReference(name, subject, version))
    return Schema(text(file), language, there)


# What is written. The values of Avro's types are made by hand, those of the others of their documents.


def everythings():
    at = datetime.datetime(2026, 3, 29, 0, 59, 59, 123456, tzinfo=UTC)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=UTC)
    naive = epoch.replace(tzinfo=None)
    ms, us = datetime.timedelta(milliseconds=1), datetime.timedelta(microseconds=1)
    yield {
        "region": "ASIA", "note": "Größe № 水", "choice": 2**53 + 1, "tags": ["a", "", "c"], "counts": {"x": -1, "": 2**63 - 1},
        "address": {"street": "Allee", "floor": -2}, "earlier": [{"street": "one", "floor": None}, {"street": "two", "floor": 2}],
        "hash": b"\0\1\2\xff", "blob": b"\xff\0", "small": -(2**31), "big": -(2**63), "half": 0.5, "tenth": 0.1, "on": True,
        "price": decimal.Decimal("-12345678901234567890.05"), "rate": decimal.Decimal("1.0001"), "day": datetime.date(2026, 3, 29),
        "time_ms": datetime.time(23, 59, 59, 999000), "time_us": datetime.time(1, 2, 3, 4),
        "stamp_ms": at.replace(microsecond=123000), "stamp_us": at, "local_us": datetime.datetime(2026, 3, 29, 2, 30, 0, 1),
        "id": uuid.UUID("123e4567-e89b-12d3-a456-426614174000"), "period": struct.pack("<III", 1, 31, 86399999),
    }
    yield {
        "region": "EU", "note": None, "choice": None, "tags": [], "counts": {}, "address": {"street": "", "floor": None}, "earlier": [],
        "hash": bytes(4), "blob": b"", "small": 0, "big": 0, "half": 0.0, "tenth": -1e300, "on": False,
        "price": decimal.Decimal("0.00"), "rate": decimal.Decimal("-0.0001"), "day": datetime.date(1969, 12, 31),
        "time_ms": datetime.time(), "time_us": datetime.time(), "stamp_ms": epoch - ms, "stamp_us": epoch - us, "local_us": naive,
        "id": uuid.UUID(int=0), "period": struct.pack("<III", 0, 0, 2**32 - 1),
    }
    yield None
    yield {
        "region": "US", "note": "", "choice": "", "tags": ["x"], "counts": {"n": 0}, "address": {"street": "s", "floor": 0}, "earlier": [],
        "hash": b"\xff\xff\xff\xff", "blob": b"\0", "small": 1, "big": 1, "half": -2.25, "tenth": 2.5, "on": True,
        "price": decimal.Decimal("1.28"), "rate": decimal.Decimal("1.28"), "day": datetime.date(1970, 1, 1),
        "time_ms": datetime.time(microsecond=1000), "time_us": datetime.time(microsecond=1), "stamp_ms": epoch, "stamp_us": epoch,
        "local_us": naive, "id": uuid.UUID(int=2**128 - 1), "period": struct.pack("<III", 12, 0, 0),
    }


class Topic:
    """What both sides write to a topic of their own, and the readers of it, each with what it expects."""

    def __init__(self, name, records, readers):
        self.name, self.records, self.readers = name, records, readers


def topics(client):
    plain = Plain()

    def documents(name, key, value):
        return Topic(name, [(key, d["key"], value, d["value"]) for d in EXPECTED[name]], {name: (key, value)})

    def raw(document):
        return None if document is None else base64.b64decode(document)

    yield Topic("plain", [(plain, raw(d["key"]), plain, raw(d["value"])) for d in EXPECTED["plain"]], {"plain": (plain, plain)})
    key, value = Avro(client, "key.avsc"), Avro(client, "everything.avsc")
    keys = [d["key"] for d in EXPECTED["avro"]]
    yield Topic("avro", [(key, k, value, v) for k, v in zip(keys, everythings(), strict=True)], {"avro": (key, value)})
    yield documents("avro-references", plain, Avro(client, "trip.avsc", ("leat.interop.Place", "leat.interop.Place", "place.avsc")))
    one, two = Avro(client, "visit1.avsc"), Avro(client, "visit2.avsc")
    records = [(plain, None, one, EXPECTED["avro-evolved/1"][0]["value"]), (plain, None, two, EXPECTED["avro-evolved/2"][1]["value"])]
    yield Topic("avro-evolved", records, {"avro-evolved/1": (plain, one), "avro-evolved/2": (plain, two)})
    gauge = {"count": -7, "share": 0.25, "total": 2**53, "unit": "m", "limit": 2**31 - 1}
    promoted = Avro(client, "gauge1.avsc", reader="gauge2.avsc")
    yield Topic("avro-promoted", [(plain, None, promoted, gauge)], {"avro-promoted": (plain, promoted)})
    yield documents("json", Json(client, "key.json"), Json(client, "trip.json", ("place.json", "leat.interop.place.json", "place.json")))
    for name, file, reader in (("json-older", "visit1.json", "visit2.json"), ("json-newer", "visit2.json", "visit1.json")):
        value = Json(client, file, reader=reader)  # which checks what it does not know and keeps it
        yield Topic(name, [(plain, None, value, EXPECTED[name + "/written"][0]["value"])], {name + "/written": (plain, value)})
    header, order = Protobuf(client, ORDERS("leat.test.Header")), Protobuf(client, ORDERS("leat.test.Order"))
    yield documents("protobuf", header, order)
    line, discount = Protobuf(client, ORDERS("leat.test.Order.Line")), Protobuf(client, ORDERS("leat.test.Order.Line.Discount"))
    yield documents("protobuf-nested", line, discount)
    for name, one, two in (("protobuf-older", VISIT1, VISIT2), ("protobuf-newer", VISIT2, VISIT1)):
        records = [(plain, None, Protobuf(client, one), EXPECTED[name + "/written"][0]["value"])]
        yield Topic(name, records, {name: (plain, Protobuf(client, two))})


def write(brokers, client, run):
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
    written, failed = 0, []
    for t in topics(client):
        topic = f"interop-{run}-{t.name}-python"
        for keys, key, values, value in t.records:
            key = keys.write(key, SerializationContext(topic, MessageField.KEY)) if key is not None else None
            value = values.write(value, SerializationContext(topic, MessageField.VALUE)) if value is not None else None
            producer.produce(topic, key=key, value=value, on_delivery=lambda e, m: e and failed.append(f"{m.topic()}: {e}"))
            written += 1
    if producer.flush(PATIENCE) or failed:
        sys.exit("not written: " + ", ".join(failed))
    print(f"Python wrote {written} records")


def read(brokers, topic):
    """Every record of a topic of one partition, to its end as of now."""
    consumer = Consumer({
        "bootstrap.servers": brokers, "group.id": "interop", "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "earliest",
    })
    consumer.assign([TopicPartition(topic, 0, 0)])
    records, deadline = [], time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        m = consumer.poll(1)
        if m is None:
            continue
        if m.error() is None:
            records.append(m)
        elif m.error().code() == KafkaError._PARTITION_EOF:
            consumer.close()
            return records
        else:
            raise KafkaException(m.error())
    sys.exit(f"{topic}: its end was not reached in {PATIENCE} s")


def verify(brokers, client, run):
    count, problems = 0, []
    for t in topics(client):
        topic = f"interop-{run}-{t.name}-leat"
        records = read(brokers, topic)
        for reader, (keys, values) in t.readers.items():
            expected = EXPECTED[reader]
            if len(records) != len(expected):
                sys.exit(f"{topic}: {len(records)} records, want {len(expected)}")
            for m, want in zip(records, expected):
                count += 1
                got = {}
                for part, field, of, data in (("key", MessageField.KEY, keys, m.key()), ("value", MessageField.VALUE, values, m.value())):
                    try:
                        got[part] = None if data is None else document(of.read(data, SerializationContext(topic, field, m.headers())))
                    except Exception as e:
                        problems.append(f"{topic}, record {m.offset()}, as {reader}: {part}: {type(e).__name__}: {e}")
                    else:
                        problems += [f"{topic}, record {m.offset()}, as {reader}: {d}" for d in differences(part, got[part], want[part])]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        sys.exit(f"{len(problems)} problems")
    print(f"Python read {count} records of Leat, each field as expected")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", brokers, registry, run]:
            write(brokers, SchemaRegistryClient({"url": registry, "timeout": 10}), run)
        case ["verify", brokers, registry, run]:
            verify(brokers, SchemaRegistryClient({"url": registry, "timeout": 10}), run)
        case _:
            sys.exit(__doc__)
