import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Properties;

class Client {
    public static void main(String[] arguments) throws Exception {
        String url = Files.readString(Path.of(arguments[0])).strip();
        Properties properties = new Properties();
        String password = System.getenv("PGPASSWORD"); // which the driver does not look for
        if (password != null) {
            properties.setProperty("password", password);
        }
        try (var connection = DriverManager.getConnection(url, properties);
                var statement = connection.createStatement();
                var rows = statement.executeQuery(arguments[1])) {
            rows.next();
            System.out.println(rows.getString(1));
        } catch (SQLException failure) {
            for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
                System.err.println(cause.getMessage());
            }
            System.exit(1);
        }
    }
}
