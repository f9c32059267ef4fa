import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketAddress;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Properties;
import java.util.logging.Level;
import java.util.logging.Logger;
import javax.net.SocketFactory;

/**
 * Connects as each line of stdin says, a host, a port and a file of roots between tabs, and answers
 * with a line: what the server or Java has to say to that. Every host is 127.0.0.1.
 */
class Verify {
    public static class Redirected extends SocketFactory {
        @Override
        public Socket createSocket() {
            return new Socket() {
                @Override
                public void connect(SocketAddress wanted, int timeout) throws IOException {
                    int port = ((InetSocketAddress) wanted).getPort();
                    super.connect(new InetSocketAddress("127.0.0.1", port), timeout);
                }
            };
        }

        @Override
        public Socket createSocket(String host, int port) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Socket createSocket(String host, int port, InetAddress from, int fromPort) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Socket createSocket(InetAddress host, int port) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Socket createSocket(InetAddress host, int port, InetAddress from, int fromPort) {
            throw new UnsupportedOperationException();
        }
    }

    private static final Logger driver = Logger.getLogger("org.postgresql");

    public static void main(String[] arguments) throws IOException {
        driver.setLevel(Level.OFF);
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            System.out.println(attempt(line.split("\t")).replace('\n', ' '));
        }
    }

    static String attempt(String[] fields) {
        String host = fields[0].contains(":") ? "[" + fields[0] + "]" : fields[0];
        var properties = new Properties();
        properties.setProperty("user", "somebody");
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", fields[2]);
        properties.setProperty("socketFactory", Redirected.class.getName());
        String url = "jdbc:postgresql://" + host + ":" + fields[1] + "/anything";
        try (var connection = DriverManager.getConnection(url, properties)) {
            return "connected";
        } catch (SQLException failure) {
            var reasons = new StringBuilder();
            for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
                reasons.append(cause.getMessage()).append(": ");
            }
            return reasons.toString();
        }
    }
}
