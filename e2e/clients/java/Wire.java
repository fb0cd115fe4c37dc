import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;

/** What really goes over the wire: content types of requests and answers, and a TLS ClientHello. */
final class Wire implements ExecutionInterceptor {
    final Set<String> requestTypes = new ConcurrentSkipListSet<>();
    final Set<String> answerTypes = new ConcurrentSkipListSet<>();
    final Set<String> bodyHashes = new ConcurrentSkipListSet<>();
    final Set<String> encodings = new ConcurrentSkipListSet<>();

    @Override
    public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes attributes) {
        var request = context.httpRequest();
        requestTypes.add(request.firstMatchingHeader("Content-Type").orElse("none"));
        encodings.add(request.firstMatchingHeader("Content-Encoding").orElse("none"));
        // A hash of the body is not one of the names that stand for something else.
        bodyHashes.add(request.firstMatchingHeader("x-amz-content-sha256")
            .map(value -> value.matches("[0-9a-f]{64}") ? "hash" : value).orElse("none"));
    }

    @Override
    public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes attributes) {
        answerTypes.add(context.httpResponse().firstMatchingHeader("Content-Type").orElse("none"));
    }

    /** Forwards one connection to the server, and keeps the first bytes that the client sends. */
    static final class Relay implements AutoCloseable {
        private static final int FIRST_BYTES_MAX = 16 * 1024;

        private final ServerSocket listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        private final URI server;
        private volatile byte[] first = {};

        Relay(URI server) throws IOException {
            this.server = server;
            daemon(this::serve);
        }

        /** Where clients reach the server through the relay, by the same name. */
        URI endpoint() {
            var port = listener.getLocalPort();
            return URI.create(server.getScheme() + "://" + server.getHost() + ":" + port);
        }

        byte[] first() {
            return first;
        }

        private void serve() {
            try (var client = listener.accept(); var behind = new Socket(server.getHost(), server.getPort())) {
                var buffer = new byte[FIRST_BYTES_MAX];
                var read = client.getInputStream().read(buffer);
                first = Arrays.copyOf(buffer, Math.max(read, 0));
                behind.getOutputStream().write(first);
                daemon(() -> copy(behind, client));
                copy(client, behind);
            } catch (IOException error) {
                // The client sees it: its connection ends.
            }
        }

        private static void copy(Socket from, Socket to) {
            try (InputStream in = from.getInputStream(); OutputStream out = to.getOutputStream()) {
                in.transferTo(out);
            } catch (IOException error) {
                // The other side is closed with it.
            }
        }

        private static void daemon(Runnable work) {
            var thread = new Thread(work, "relay");
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void close() throws IOException {
            listener.close();
        }
    }

    /** Whether a TLS ClientHello offers protocols of the application (extension 16 of RFC 7301). */
    static boolean offersAlpn(byte[] bytes) {
        var hello = ByteBuffer.wrap(bytes);
        Tap.same((byte) 22, hello.get()); // a handshake record
        hello.position(5);
        Tap.same((byte) 1, hello.get()); // a ClientHello
        hello.position(hello.position() + 3 + 2 + 32);
        skip(hello, Byte.toUnsignedInt(hello.get())); // session
        skip(hello, Short.toUnsignedInt(hello.getShort())); // ciphers
        skip(hello, Byte.toUnsignedInt(hello.get())); // compressions
        var end = Short.toUnsignedInt(hello.getShort()) + hello.position();
        while (hello.position() < end) {
            var kind = hello.getShort();
            if (kind == 16) {
                return true;
            }
            skip(hello, Short.toUnsignedInt(hello.getShort()));
        }
        return false;
    }

    private static void skip(ByteBuffer buffer, int bytes) {
        buffer.position(buffer.position() + bytes);
    }
}
