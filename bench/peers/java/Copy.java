import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/** Copies a topic to another with Kafka Streams, exactly_once_v2, until all is committed that was there when it began. */
public final class Copy {
    public static void main(String[] args) throws Exception {
        Flags flags = new Flags(args);
        String from = flags.required("from"), group = flags.required("group");
        Path state = Files.createTempDirectory("leat-bench-streams");
        Properties p = new Properties();
        p.put("bootstrap.servers", flags.required("brokers"));
        p.put("application.id", group);
        p.put("processing.guarantee", "exactly_once_v2");
        p.put("commit.interval.ms", String.valueOf(flags.millis("commit-interval", 100)));
        p.put("state.dir", state.toString());
        p.put("default.key.serde", Serdes.ByteArraySerde.class.getName());
        p.put("default.value.serde", Serdes.ByteArraySerde.class.getName());
        // Larger polls and buffers than by default, which are faster here.
        p.put("buffered.records.per.partition", "10000");
        p.put(StreamsConfig.consumerPrefix("max.poll.records"), "10000");
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        Settings.producing(p, "producer.", flags);
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(from).to(flags.required("to"));

        long began = System.nanoTime();
        KafkaStreams streams = new KafkaStreams(builder.build(), p);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        long committed, total = 0;
        try (Admin admin = Admin.create(p)) {
            for (long end : ends(admin, from).values()) total += end;
            while ((committed = committed(admin, group, from)) < total) Thread.sleep(20);
        }
        double seconds = (System.nanoTime() - began) / 1e9;
        // Left, so that nobody has to wait for its session to time out.
        streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP).withTimeout(Duration.ofSeconds(10)));
        delete(state);
        Meter.report(committed, seconds);
    }

    /** Where the input's partitions end; it is plain, so that offsets count records. */
    private static Map<TopicPartition, Long> ends(Admin admin, String topic) throws Exception {
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions()
            .forEach(partition -> asked.put(new TopicPartition(topic, partition.partition()), OffsetSpec.latest()));
        Map<TopicPartition, Long> ends = new HashMap<>();
        admin.listOffsets(asked).all().get().forEach((partition, info) -> ends.put(partition, info.offset()));
        return ends;
    }

    private static long committed(Admin admin, String group, String topic) throws InterruptedException {
        long sum = 0;
        try {
            for (Map.Entry<TopicPartition, OffsetAndMetadata> entry :
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().entrySet())
                if (entry.getValue() != null && entry.getKey().topic().equals(topic)) sum += entry.getValue().offset();
        } catch (ExecutionException e) {
            return 0; // the group does not exist yet, or its coordinator is not ready
        }
        return sum;
    }

    private static void delete(Path directory) throws IOException {
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : (Iterable<Path>) files.sorted(Comparator.reverseOrder())::iterator) Files.delete(file);
        }
    }
}
