import java.nio.file.Files;
import java.nio.file.Path;

/** Copies a file to another by Files.copy. */
public class CopyFile {
    public static void main(String[] args) throws Exception {
        Files.copy(Path.of(args[0]), Path.of(args[1]));
    }
}
