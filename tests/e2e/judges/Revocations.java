import java.io.FileInputStream;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.List;
import java.util.Set;

/** Java's PKIX validator, with a revocation list: ROOT LIST CERTIFICATE. */
class Revocations {
  public static void main(String[] args) throws Exception {
    var factory = CertificateFactory.getInstance("X.509");
    X509Certificate root;
    X509Certificate leaf;
    java.security.cert.CRL list;
    try (var in = new FileInputStream(args[0])) {
      root = (X509Certificate) factory.generateCertificate(in);
    }
    try (var in = new FileInputStream(args[1])) {
      list = factory.generateCRL(in);
    }
    try (var in = new FileInputStream(args[2])) {
      leaf = (X509Certificate) factory.generateCertificate(in);
    }
    var parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
    parameters.addCertStore(
        CertStore.getInstance("Collection", new CollectionCertStoreParameters(List.of(list))));
    try {
      CertPathValidator.getInstance("PKIX")
          .validate(factory.generateCertPath(List.of(leaf)), parameters);
      System.out.println("accepted");
    } catch (CertPathValidatorException e) {
      System.out.println(e.getReason() + ": " + e.getMessage());
    }
  }
}
