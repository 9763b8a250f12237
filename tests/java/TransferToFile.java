import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Copies a file to another by transferTo. */
public class TransferToFile {
    public static void main(String[] args) throws Exception {
        try (FileChannel source = FileChannel.open(Path.of(args[0]));
                FileChannel target = FileChannel.open(
                        Path.of(args[1]), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            long size = source.size();
            long sent = 0;
            while (sent < size) {
                sent += source.transferTo(sent, size - sent, target);
            }
            System.out.println("sent " + sent);
        }
    }
}
