import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

/**
 * The judge of Java: a handshake in memory, with the PKIX trust manager and the identification of
 * the endpoint that Java's own HTTPS client uses.
 */
class Java {
  static Certificate certificate(String file) throws Exception {
    try (var in = new FileInputStream(file)) {
      return CertificateFactory.getInstance("X.509").generateCertificate(in);
    }
  }

  /** A PKCS#8 key in PEM. Java wants to be told its algorithm. */
  static PrivateKey key(String file, String algorithm) throws Exception {
    String pem = Files.readString(Path.of(file));
    String base64 = pem.replaceAll("-----(BEGIN|END) PRIVATE KEY-----", "");
    var encoded = new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(base64));
    return KeyFactory.getInstance(algorithm).generatePrivate(encoded);
  }

  /** JKS, for PKCS#12 would derive a key from the password, slowly. */
  static KeyStore emptyStore() throws Exception {
    var store = KeyStore.getInstance("JKS");
    store.load(null, null);
    return store;
  }

  static SSLEngine server(String certificateFile, String keyFile) throws Exception {
    Certificate leaf = certificate(certificateFile);
    var password = new char[0];
    var store = emptyStore();
    store.setKeyEntry("leaf", key(keyFile, leaf.getPublicKey().getAlgorithm()), password,
        new Certificate[] {leaf});
    var keys = KeyManagerFactory.getInstance("PKIX");
    keys.init(store, password);
    var context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), null, null);
    var engine = context.createSSLEngine();
    engine.setUseClientMode(false);
    return engine;
  }

  static SSLEngine client(String rootFile, String name) throws Exception {
    var store = emptyStore();
    store.setCertificateEntry("root", certificate(rootFile));
    var trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(store);
    var context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    var engine = context.createSSLEngine(name, 443);
    engine.setUseClientMode(true);
    SSLParameters parameters = engine.getSSLParameters();
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    engine.setSSLParameters(parameters);
    return engine;
  }

  /** One step of a handshake, if `engine` can take one with what has come `in`. */
  static void step(SSLEngine engine, ByteBuffer in, ByteBuffer out) throws SSLException {
    switch (engine.getHandshakeStatus()) {
      case NEED_TASK -> engine.getDelegatedTask().run();
      case NEED_WRAP -> engine.wrap(ByteBuffer.allocate(0), out);
      case NEED_UNWRAP -> {
        in.flip();
        engine.unwrap(in, ByteBuffer.allocate(engine.getSession().getApplicationBufferSize()));
        in.compact();
      }
      default -> { }
    }
  }

  static String judge(String root, String certificate, String key, String name)
      throws Exception {
    SSLEngine client = client(root, name);
    SSLEngine server = server(certificate, key);
    var toClient = ByteBuffer.allocate(1 << 16);
    var toServer = ByteBuffer.allocate(1 << 16);
    try {
      client.beginHandshake();
      server.beginHandshake();
      while (client.getHandshakeStatus() != HandshakeStatus.NOT_HANDSHAKING) {
        step(client, toClient, toServer);
        step(server, toServer, toClient);
      }
      return "accepted";
    } catch (SSLException e) {
      return e.getMessage();
    }
  }

  public static void main(String[] args) throws Exception {
    var cases = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = cases.readLine()) != null; ) {
      String[] field = line.split("\t");
      System.out.println(judge(field[0], field[1], field[2], field[3]).replace('\n', ' '));
    }
  }
}
