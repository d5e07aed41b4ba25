import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** The benchmark's records, byte for byte those of bench/internal/record. */
final class Records {
    private static final int ID = 8, NOISE = 96;
    private static final byte[] TEXT =
        "{\"status\":\"ACTIVE\",\"currency\":\"EUR\",\"country\":\"DE\",\"channel\":\"web\",\"version\":3,\"tags\":[\"a\",\"b\"]}"
            .getBytes(StandardCharsets.US_ASCII);
    private static final byte[] DIGITS = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);
    private static final byte[][] BODIES = bodies();

    private Records() {}

    private static byte[][] bodies() {
        byte[][] all = new byte[4096][];
        long state = 0x9E3779B97F4A7C15L;
        for (int i = 0; i < all.length; i++) {
            byte[] body = new byte[ID + NOISE + TEXT.length];
            for (int at = ID; at < ID + NOISE; at += 8) {
                state ^= state << 13;
                state ^= state >>> 7;
                state ^= state << 17;
                for (int k = 0; k < 8; k++) body[at + k] = (byte) (state >>> (8 * k));
            }
            System.arraycopy(TEXT, 0, body, ID + NOISE, TEXT.length);
            all[i] = body;
        }
        return all;
    }

    static byte[] key(long id) {
        byte[] key = new byte[16];
        for (int i = 0; i < key.length; i++) key[i] = DIGITS[(int) (id >>> (60 - 4 * i)) & 15];
        return key;
    }

    static byte[] value(long id) {
        byte[] value = BODIES[(int) (id & (BODIES.length - 1))].clone();
        ByteBuffer.wrap(value).putLong(id);
        return value;
    }
}
