import java.util.Properties;

/** The producer's settings, the same for both jobs: the client's defaults, except where speed asks for something else. */
final class Settings {
    private Settings() {}

    /** Acknowledgement by all and idempotence are the client's defaults. */
    static void producing(Properties to, String prefix, Flags flags) {
        to.put(prefix + "compression.type", "lz4");
        to.put(prefix + "linger.ms", "5");
        to.put(prefix + "batch.size", flags.or("batch-size", "262144"));
        to.put(prefix + "buffer.memory", String.valueOf(128 << 20));
    }
}
