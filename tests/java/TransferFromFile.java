import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Copies a file to another by transferFrom, which JDK 17 does by mapping the source. */
public class TransferFromFile {
    public static void main(String[] args) throws Exception {
        try (FileChannel source = FileChannel.open(Path.of(args[0]));
                FileChannel target = FileChannel.open(
                        Path.of(args[1]), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            System.out.println("sent " + target.transferFrom(source, 0, source.size()));
        }
    }
}
