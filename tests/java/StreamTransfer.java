import java.io.FileInputStream;
import java.io.FileOutputStream;

/** Copies a file to another by InputStream.transferTo. */
public class StreamTransfer {
    public static void main(String[] args) throws Exception {
        try (FileInputStream source = new FileInputStream(args[0]);
                FileOutputStream target = new FileOutputStream(args[1])) {
            System.out.println("sent " + source.transferTo(target));
        }
    }
}
