import java.io.FileInputStream;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.net.URI;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.http.ProtocolNegotiation;
import software.amazon.awssdk.http.apache5.Apache5HttpClient;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;

/** Clients as applications build them, but for retries, which are off: every answer is the first. */
final class Clients {
    private static final Duration CALL = Duration.ofSeconds(30);

    private Clients() {}

    /** The blocking client, over HTTP/1.1. */
    static KinesisClient blocking(Wire wire) throws Exception {
        var trust = trust();
        var http = Apache5HttpClient.builder();
        if (trust != null) {
            http.tlsTrustManagersProvider(() -> trust);
        }
        return plain(KinesisClient.builder(), wire, null).httpClientBuilder(http).build();
    }

    /** The asynchronous client, over HTTP/2 as it is for Kinesis; a null leaves what is usual. */
    static KinesisAsyncClient async(Wire wire, URI endpoint, ProtocolNegotiation negotiation) throws Exception {
        var trust = trust();
        var http = NettyNioAsyncHttpClient.builder();
        if (trust != null) {
            http.tlsTrustManagersProvider(() -> trust);
        }
        if (negotiation != null) {
            http.protocolNegotiation(negotiation);
        }
        return plain(KinesisAsyncClient.builder(), wire, endpoint).httpClientBuilder(http).build();
    }

    private static <B extends AwsClientBuilder<B, ?>> B plain(B builder, Wire wire, URI endpoint) {
        builder.overrideConfiguration(o -> o.retryStrategy(AwsRetryStrategy.doNotRetry())
            .apiCallTimeout(CALL).addExecutionInterceptor(wire));
        return endpoint == null ? builder : builder.endpointOverride(endpoint);
    }

    /** The asynchronous client as if it were the blocking one: each call waits for its future. */
    static KinesisClient waiting(KinesisAsyncClient client) {
        InvocationHandler handler = (self, method, arguments) -> {
            if (method.getName().endsWith("Paginator")) {
                return InvocationHandler.invokeDefault(self, method, arguments);
            }
            try {
                var twin = KinesisAsyncClient.class.getMethod(method.getName(), method.getParameterTypes());
                var result = twin.invoke(client, arguments);
                return result instanceof CompletableFuture<?> future
                    ? future.get(CALL.toSeconds(), TimeUnit.SECONDS) : result;
            } catch (ExecutionException | InvocationTargetException error) {
                throw error.getCause();
            }
        };
        var loader = Clients.class.getClassLoader();
        return (KinesisClient) Proxy.newProxyInstance(loader, new Class<?>[] {KinesisClient.class}, handler);
    }

    /** Trust in the authorities of AWS_CA_BUNDLE alone; null without it. */
    private static TrustManager[] trust() throws Exception {
        var bundle = System.getenv("AWS_CA_BUNDLE");
        if (bundle == null) {
            return null;
        }
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var file = new FileInputStream(bundle)) {
            for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                store.setCertificateEntry("ca-" + store.size(), certificate);
            }
        }
        var factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return factory.getTrustManagers();
    }
}
